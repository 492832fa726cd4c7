#include "tests/chaos/net.h"

#include <stdio.h>

#include "tests/chaos/net_priv.h"

enum mr_status
mr_net_open(struct mr_net *net, const char *folder, const char *program,
    bool avoids_namespaces, struct mr_err *err)
{
    struct mr_err why = {.what = "not wanted"};

    *net = (struct mr_net){.has_namespaces = !avoids_namespaces};
    if (!avoids_namespaces && mr_net_ns_open(net, folder, &why) == MR_OK)
        return MR_OK;
    *net = (struct mr_net){.has_namespaces = false};
    (void)snprintf(net->note, sizeof net->note, "no namespaces (%.80s%s%.120s): proxies",
        why.what, why.why[0] ? ": " : "", why.why);
    return mr_net_proxy_open(net, folder, program, err);
}

void
mr_net_close(struct mr_net *net)
{
    if (net->ns)
        mr_net_ns_close(net);
    if (net->proxy)
        mr_net_proxy_close(net);
}

void
mr_net_enter(struct mr_net *net, enum mr_place place)
{
    if (net->ns)
        mr_net_ns_enter(net, place);
}

const char *
mr_net_cut(struct mr_net *net, enum mr_link link, uint32_t variant)
{
    if (net->proxy)
        return mr_net_proxy_cut(net, link, variant);
    mr_net_ns_switch(net, link, false);
    return "silence";
}

void
mr_net_heal(struct mr_net *net, enum mr_link link)
{
    if (net->proxy)
        mr_net_proxy_heal(net, link);
    else
        mr_net_ns_switch(net, link, true);
}
