/* The two ways to make a network; see net.h. */
#ifndef MR_CHAOS_NET_PRIV_H
#define MR_CHAOS_NET_PRIV_H

#include "tests/chaos/net.h"

enum mr_status mr_net_ns_open(
    struct mr_net *net, const char *folder, struct mr_err *err) MR_MUST_CHECK;
void mr_net_ns_close(struct mr_net *net);
void mr_net_ns_enter(struct mr_net *net, enum mr_place place);
void mr_net_ns_switch(struct mr_net *net, enum mr_link link, bool is_on);

enum mr_status mr_net_proxy_open(struct mr_net *net, const char *folder,
    const char *program, struct mr_err *err) MR_MUST_CHECK;
void mr_net_proxy_close(struct mr_net *net);
const char *mr_net_proxy_cut(struct mr_net *net, enum mr_link link, uint32_t variant);
void mr_net_proxy_heal(struct mr_net *net, enum mr_link link);

#endif
