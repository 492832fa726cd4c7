#include "client/cli.h"

int
main(int argc, char **argv)
{
    return mr_cli_run(argc, argv, stdout, stderr);
}
