#include "worker/road/rides.h"

#include "worker/road/decimal.h"

#include <expat.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STOPS_MAX = 10000, REQUESTS_MAX = 1000000, CHUNK = 1 << 16, NOWHERE = -1 };

struct reader {
    const char *path;
    XML_Parser parser;
    struct mr_rides *rides;
    uint32_t stop_cap, request_cap;
    struct mr_rides_request person; /* the one being read */
    int64_t at;                     /* stop where it stands, NOWHERE */
    enum mr_status status;
    struct mr_err *err;
};

static void
refuse(struct reader *r, enum mr_status status, const char *cause, const char *detail)
{
    char what[160];

    if (r->status)
        return;
    snprintf(what, sizeof what, "cannot read %.120s", r->path);
    r->status = mr_err_setf(r->err, status, what,
        "Give the stops and the requests of one SUMO scenario.", "line %u: %s%s%.200s",
        (unsigned)XML_GetCurrentLineNumber(r->parser), cause, detail ? ": " : "",
        detail ? detail : "");
    XML_StopParser(r->parser, XML_FALSE);
}

static const char *
attribute(const XML_Char **attributes, const char *name)
{
    for (; attributes[0]; attributes += 2) {
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    }
    return NULL;
}

static bool
grow(struct reader *r, void **items, size_t item_bytes, uint32_t count, uint32_t *cap,
    uint32_t max)
{
    uint32_t wanted = *cap ? *cap * 2 : 128;
    void *p = count < *cap ? *items : NULL;

    if (p)
        return true;
    if (count < max)
        p = realloc(*items, wanted * item_bytes);
    if (!p) {
        refuse(r, count < max ? MR_NO_MEMORY : MR_TOO_BIG, "too many of them", NULL);
        return false;
    }
    *items = p;
    *cap = wanted;
    return true;
}

static bool
copy(char *to, size_t room, const char *from, size_t n)
{
    if (n == 0 || n >= room)
        return false;
    memcpy(to, from, n);
    to[n] = '\0';
    return true;
}

static int64_t
stop_of(const struct mr_rides *rides, const char *id)
{
    for (uint32_t i = 0; i < rides->stop_count; i++) {
        if (strcmp(rides->stops[i].id, id) == 0)
            return i;
    }
    return NOWHERE;
}

static void XMLCALL
on_stop(void *context, const XML_Char *element, const XML_Char **attributes)
{
    struct reader *r = context;
    struct mr_rides_stop stop = {.id = ""};
    const char *id = attribute(attributes, "id"), *lane = attribute(attributes, "lane");
    const char *name = attribute(attributes, "name");
    const char *number = lane ? strrchr(lane, '_') : NULL;

    if (r->status || strcmp(element, "busStop") != 0)
        return;
    name = name && *name ? name : id;
    if (!id || !number || !copy(stop.id, sizeof stop.id, id, strlen(id)) ||
        !copy(stop.name, sizeof stop.name, name, strlen(name)) ||
        !copy(stop.edge, sizeof stop.edge, lane, (size_t)(number - lane))) {
        refuse(r, MR_MALFORMED, "a bus stop needs an id and a lane", id);
    } else if (stop_of(r->rides, id) != NOWHERE) {
        refuse(r, MR_MALFORMED, "two bus stops have the id", id);
    } else if (grow(r, (void **)&r->rides->stops, sizeof stop, r->rides->stop_count,
                   &r->stop_cap, STOPS_MAX)) {
        r->rides->stops[r->rides->stop_count++] = stop;
    }
}

static void
on_person(struct reader *r, const XML_Char **attributes)
{
    const char *id = attribute(attributes, "id");

    r->at = NOWHERE;
    if (!id || !copy(r->person.person, sizeof r->person.person, id, strlen(id)))
        refuse(r, MR_MALFORMED, "a person without an id, or with one that is too long",
            NULL);
    else if (!mr_decimal_thousandths(
                 attribute(attributes, "depart"), &r->person.depart_ms) ||
             r->person.depart_ms < 0)
        refuse(
            r, MR_MALFORMED, "not a time of departure", attribute(attributes, "depart"));
}

static void
on_ride(struct reader *r, int64_t to)
{
    if (r->at == NOWHERE) {
        refuse(r, MR_MALFORMED, "a ride without a stop before it, of", r->person.person);
    } else if (grow(r, (void **)&r->rides->requests, sizeof r->person,
                   r->rides->request_count, &r->request_cap, REQUESTS_MAX)) {
        r->person.from = (uint32_t)r->at;
        r->person.to = (uint32_t)to;
        r->rides->requests[r->rides->request_count++] = r->person;
        r->at = to;
    }
}

static void XMLCALL
on_request(void *context, const XML_Char *element, const XML_Char **attributes)
{
    struct reader *r = context;
    bool is_ride = strcmp(element, "ride") == 0;
    const char *id = attribute(attributes, "busStop");
    int64_t stop;

    if (r->status)
        return;
    if (strcmp(element, "person") == 0) {
        on_person(r, attributes);
        return;
    }
    if (!is_ride && strcmp(element, "stop") != 0)
        return;
    stop = id ? stop_of(r->rides, id) : NOWHERE;
    if (stop == NOWHERE)
        refuse(r, MR_MALFORMED, "no such bus stop", id);
    else if (is_ride)
        on_ride(r, stop);
    else
        r->at = stop;
}

static void
feed(struct reader *r, FILE *file)
{
    bool is_last = false;

    while (!r->status && !is_last) {
        void *chunk = XML_GetBuffer(r->parser, CHUNK);
        size_t n = chunk ? fread(chunk, 1, CHUNK, file) : 0;

        is_last = n < CHUNK;
        if (!chunk)
            refuse(r, MR_NO_MEMORY, "out of memory", NULL);
        else if (ferror(file))
            refuse(r, MR_MALFORMED, "reading failed", strerror(errno));
        else if (XML_ParseBuffer(r->parser, (int)n, is_last) != XML_STATUS_OK)
            refuse(r, MR_MALFORMED, "broken XML",
                XML_ErrorString(XML_GetErrorCode(r->parser)));
    }
}

static void
read_file(struct reader *r, const char *path, XML_StartElementHandler on_start,
    const uint32_t *count)
{
    FILE *file = fopen(path, "rb");
    char what[160];

    r->path = path;
    if (!file) {
        snprintf(what, sizeof what, "cannot open %.120s", path);
        r->status = mr_err_set(r->err, MR_NOT_FOUND, what, strerror(errno),
            "Check the path of the scenario.");
        return;
    }
    r->parser = XML_ParserCreate(NULL);
    if (r->parser) {
        XML_SetUserData(r->parser, r);
        XML_SetStartElementHandler(r->parser, on_start);
        feed(r, file);
        if (!r->status && *count == 0)
            refuse(r, MR_MALFORMED, "there are none in it", NULL);
        XML_ParserFree(r->parser);
        r->parser = NULL;
    } else {
        r->status = MR_NO_MEMORY;
    }
    fclose(file);
}

enum mr_status
mr_rides_load(const char *stops_path, const char *requests_path, struct mr_rides **out,
    struct mr_err *err)
{
    struct reader r = {.rides = calloc(1, sizeof *r.rides), .at = NOWHERE, .err = err};

    *out = NULL;
    if (!r.rides)
        return mr_err_set(
            err, MR_NO_MEMORY, "cannot read the rides", "out of memory", NULL);
    read_file(&r, stops_path, on_stop, &r.rides->stop_count);
    if (!r.status)
        read_file(&r, requests_path, on_request, &r.rides->request_count);
    if (r.status)
        mr_rides_destroy(&r.rides);
    *out = r.rides;
    return r.status;
}

void
mr_rides_destroy(struct mr_rides **rides)
{
    if (!*rides)
        return;
    free((*rides)->stops);
    free((*rides)->requests);
    free(*rides);
    *rides = NULL;
}
