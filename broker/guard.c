#include "broker/guard.h"

#include "broker/audit.h"
#include "broker/talk.h"
#include "schemas/base/log.h"

#include <stdio.h>
#include <string.h>

#define SECOND_US 1000000
/* Rights hold at once; sessions are ended so much later: who changed them has the answer by then. */
#define LOOK_US 100000
#define LOGGED_MAX 20u /* lines about refusals in a second, in all */

/* ---- noting --------------------------------------------------------------------------------------- */

/* A line in the log is worth less than the others' jobs. */
static bool
may_log(struct mr_broker *broker)
{
    if (broker->now.mono_us - broker->guard.window_us >= SECOND_US) {
        broker->guard.window_us = broker->now.mono_us;
        broker->guard.lines = 0;
    }
    return broker->guard.lines++ < LOGGED_MAX;
}

void
mr_guard_note(struct mr_broker *broker, enum mr_side side, struct mr_span user,
    const char *action, struct mr_span object, const char *why, uint32_t count)
{
    uint32_t principal = mr_guard_who(broker, user);
    struct mr_span name = principal ? mr_rights_name(broker->rights, principal) : user;

    mr_audit_note_many(broker,
        &(struct mr_audit){.principal = principal ? name : MR_SPAN_NONE,
            .key = user.n == MR_KEY_CHARS ? user : MR_SPAN_NONE,
            .action = mr_span_str(action),
            .object = object,
            .detail = mr_span_str(why),
            .source = mr_span_str(mr_side_name(side))},
        count);
    if (may_log(broker))
        mr_log(MR_LOG_WARN, "refused", "who=\"%.*s\" action=%s why=\"%s\"", (int)name.n,
            name.n ? (const char *)name.p : "", action, why);
}

struct mr_span
mr_guard_refuse(struct mr_broker *broker, uint32_t peer, enum mr_right right,
    struct mr_span queue, struct mr_span kind, uint32_t count,
    char why[MR_RIGHTS_TEXT_BYTES])
{
    const struct mr_session *session = mr_session_at(broker->sessions, peer);

    mr_rights_say(broker->rights, session->principal, right, queue, kind, why);
    broker->guard.refused[right] += count;
    mr_guard_note(broker, session->side, mr_span_str(session->user), mr_right_name(right),
        queue, why, count);
    return mr_span_str(why);
}

void
mr_guard_on_theft(struct mr_broker *broker, uint32_t peer, struct mr_span user)
{
    broker->guard.thefts++;
    mr_guard_note(broker, mr_session_at(broker->sessions, peer)->side, user,
        "identity-theft", MR_SPAN_NONE, "it used the address of a session of another key",
        1);
}

/* ---- asking ----------------------------------------------------------------------------------------- */

uint32_t
mr_guard_who(const struct mr_broker *broker, struct mr_span user)
{
    return broker->rights ? mr_rights_who(broker->rights, user) : 0;
}

struct mr_scope_range
mr_guard_over(const struct mr_broker *broker, uint32_t peer, enum mr_right right,
    struct mr_span queue, struct mr_span kind)
{
    return mr_rights_over(broker->rights,
        mr_session_at(broker->sessions, peer)->principal, right, queue, kind);
}

enum mr_scope
mr_guard_may(const struct mr_broker *broker, uint32_t peer, enum mr_right right,
    struct mr_span queue, struct mr_span kind)
{
    return mr_rights_may(broker->rights, mr_session_at(broker->sessions, peer)->principal,
        right, queue, kind);
}

/* ---- HELLO -------------------------------------------------------------------------------------------- */

static enum mr_scope
most_of(const struct mr_broker *broker, uint32_t principal, enum mr_right right,
    struct mr_span kind)
{
    return mr_rights_over(broker->rights, principal, right, MR_SPAN_NONE, kind).most;
}

static enum mr_status
refuse_hello(struct mr_broker *broker, uint32_t principal, enum mr_right right,
    struct mr_span kind, char why[MR_RIGHTS_TEXT_BYTES])
{
    mr_rights_say(broker->rights, principal, right, MR_SPAN_NONE, kind, why);
    broker->guard.refused[right]++;
    return MR_DENIED; /* noted with its answer */
}

enum mr_status
mr_guard_hello(struct mr_broker *broker, uint32_t principal, const struct mr_hello *hello,
    char why[MR_RIGHTS_TEXT_BYTES])
{
    if (hello->role == MR_ROLE_CLIENT) {
        for (size_t right = 0; right < MR_RIGHTS; right++) {
            if (right != MR_RIGHT_RUN &&
                most_of(broker, principal, (enum mr_right)right, MR_SPAN_NONE))
                return MR_OK;
        }
        return refuse_hello(broker, principal, MR_RIGHT_SUBMIT, MR_SPAN_NONE, why);
    }
    if (!most_of(broker, principal, MR_RIGHT_RUN, MR_SPAN_NONE))
        return refuse_hello(broker, principal, MR_RIGHT_RUN, MR_SPAN_NONE, why);
    for (uint32_t i = 0; i < hello->offers; i++) {
        if (!most_of(broker, principal, MR_RIGHT_RUN, broker->offers[i].kind))
            return refuse_hello(
                broker, principal, MR_RIGHT_RUN, broker->offers[i].kind, why);
    }
    return MR_OK;
}

/* ---- a change ------------------------------------------------------------------------------------------ */

static void
end_session(struct mr_broker *broker, uint32_t peer, const char *why)
{
    mr_talk_error(broker, peer, 0,
        &(struct mr_error){.code = MR_NO_SESSION, .text = mr_span_str(why)});
    mr_core_leaves(broker->core, broker->now, peer, mr_span_str(why));
}

static void
look_at_session(struct mr_broker *broker, uint32_t peer)
{
    struct mr_session *session = mr_session_at(broker->sessions, peer);
    uint32_t principal;

    if (!session)
        return;
    principal = mr_guard_who(broker, mr_span_str(session->user));
    if (!principal)
        end_session(broker, peer, "its key was revoked");
    else if (session->role == MR_ROLE_CLIENT &&
             session->rights_digest != mr_rights_digest(broker->rights, principal))
        end_session(broker, peer, "its rights have changed");
}

void
mr_guard_set_rights(struct mr_broker *broker, struct mr_rights *rights)
{
    struct mr_rights *before = broker->rights;

    broker->rights = rights;
    mr_core_set_rights(broker->core, broker->now, rights);
    mr_rights_destroy(&before);
    broker->guard.look_us = broker->now.mono_us + LOOK_US;
}

int64_t
mr_guard_next_us(const struct mr_broker *broker)
{
    return broker->guard.look_us ? broker->guard.look_us : INT64_MAX;
}

void
mr_guard_tick(struct mr_broker *broker)
{
    if (broker->now.mono_us < mr_guard_next_us(broker))
        return;
    broker->guard.look_us = 0;
    for (uint32_t i = 0; i < mr_session_max(broker->sessions); i++)
        look_at_session(broker, i);
}
