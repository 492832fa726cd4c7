/*
 * What a child process is: an executor with a main thread that talks to the worker through a socket
 * pair instead of to a broker through a link. It lives as long as the worker's executor that
 * started it, and takes what its handlers started with it.
 */
#ifndef MR_WORKER_ISOLATED_H
#define MR_WORKER_ISOLATED_H

/* The whole of the process; its exit code. Main thread. */
int mr_isolated_main(void);

#endif
