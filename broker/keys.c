#include "broker/keys.h"

#include "broker/audit.h"
#include "broker/zap.h"
#include "schemas/base/log.h"

#include <stdlib.h>
#include <string.h>

void
mr_keys_publish(struct mr_broker *broker)
{
    struct mr_zap_key *keys;
    struct mr_span key;
    uint32_t cursor = 0, room = 0, count = 0;
    enum mr_status status = MR_NO_MEMORY;

    while (mr_rights_next_key(broker->rights, &cursor, &key))
        room++;
    keys = calloc(room ? room : 1, sizeof *keys);
    cursor = 0;
    while (keys && count < room && mr_rights_next_key(broker->rights, &cursor, &key))
        memcpy(keys[count++].text, key.p, MR_CURVE_TEXT);
    if (keys)
        status = mr_zap_publish(broker->zap, keys, count);
    free(keys);
    /* Whoever was known gets a connection still; what he says is judged by his rights. */
    if (status)
        mr_log(MR_LOG_ERROR, "keys-not-taken",
            "why=\"no memory\" todo=\"give the broker more, then change any right\"");
}

static void
write_down(struct mr_broker *broker, const struct mr_zap_refusal *refusal)
{
    struct mr_audit what = {.key = mr_span_str(refusal->key),
        .action = mr_span_str("handshake"),
        .detail = mr_span_str(mr_zap_reason_text(refusal->reason)),
        .source = mr_span_str(refusal->address)};
    const struct mr_audit others = {.action = mr_span_str("handshake"),
        .detail = mr_span_str("more than can be told one by one")};

    mr_audit_note(broker, &what);
    if (refusal->withheld)
        mr_audit_note_many(broker, &others, refusal->withheld);
}

/* Address and key are a stranger's, but nothing that a line could break on: libzmq's own text, and
 * Z85. */
void
mr_keys_look(struct mr_broker *broker)
{
    struct mr_zap_refusal *refusal;

    mr_zap_hush(broker->zap);
    while ((refusal = mr_zap_take(broker->zap)) != NULL) {
        mr_log(MR_LOG_WARN, "not-let-in", "why=\"%s\" from=%s key=\"%s\" withheld=%llu",
            mr_zap_reason_text(refusal->reason), refusal->address, refusal->key,
            (unsigned long long)refusal->withheld);
        write_down(broker, refusal);
        mr_zap_give_back(broker->zap, refusal);
    }
}
