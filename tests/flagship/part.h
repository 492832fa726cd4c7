/*
 * The largest part of a graph in which every edge reaches every other one (its largest
 * strongly connected component). Pure.
 */
#ifndef MR_FLAGSHIP_PART_H
#define MR_FLAGSHIP_PART_H

#include <stdint.h>

#include "schemas/base/status.h"
#include "worker/road/graph.h"

/* The edges of it, in ascending order, to be freed with free(). Among parts of the same size
 * the one with the smallest edge is taken. MR_BAD_ARGUMENT if no edge is usable. */
enum mr_status mr_part_largest(
    const struct mr_graph *graph, uint32_t **edges, uint32_t *count) MR_MUST_CHECK;

#endif
