// Who listens on a TCP port of this machine.
#ifndef HTH_OS_PORT_H
#define HTH_OS_PORT_H

#include <stdbool.h>
#include <stddef.h>

// Writes the name and number of the process, "ollama (process 1234)", into text [n]. False where the system does not
// tell: another user's process, or not Linux.
bool hth_port_holder(int port, char *text, size_t n);

#endif
