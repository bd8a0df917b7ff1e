// Sockets that listen, and addresses as texts.
#ifndef HTH_OS_SOCKET_H
#define HTH_OS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sockaddr;

#define HTH_ADDRESS_TEXT 64 // bytes that hold any numeric address

// Listens on a numeric address ("127.0.0.1", "::1", "0.0.0.0", "::" for both kinds) and port (0: any free one, which
// *port becomes). HTH_ERR_BUSY where somebody else has it.
HTH_NODISCARD hth_code hth_socket_listen(const char *address, uint16_t *port, int *fd, hth_err *err);
void hth_socket_close(int fd);
// Both directions end; who reads or writes there is told. The socket stays open.
void hth_socket_shut(int fd);
// "192.0.2.1" or "2001:db8::1"; an IPv4 address that came through IPv6 is written as what it is.
void hth_socket_address(const struct sockaddr *a, char out[HTH_ADDRESS_TEXT]);
bool hth_socket_is_loopback(const char *address);
// A write to a connection that is gone is an error, not a signal.
void hth_socket_ignore_pipe(void);
// As many open files as the system lets this process have.
void hth_socket_raise_limit(void);

#endif
