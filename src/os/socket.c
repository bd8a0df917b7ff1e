// The POSIX calls.
#include "os/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} any_address;

static bool parse(const char *text, uint16_t port, any_address *a, socklen_t *n) {
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        *n = sizeof a->v4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &a->v6.sin6_addr) != 1) return false;
    a->v6.sin6_family = AF_INET6;
    a->v6.sin6_port = htons(port);
    *n = sizeof a->v6;
    return true;
}

static hth_code refuse(int fd, const char *address, uint16_t port, hth_err *err) {
    const int number = errno;
    if (fd >= 0) close(fd);
    if (number != EADDRINUSE) {
        return hth_fail(err, HTH_ERR_IO, "cannot listen on %s port %u: %s", address, port, strerror(number));
    }
    return hth_fail(err, HTH_ERR_BUSY, "port %u of %s is taken", port, address);
}

hth_code hth_socket_listen(const char *address, uint16_t *port, int *out, hth_err *err) {
    any_address a;
    socklen_t n;
    if (!parse(address, *port, &a, &n))
        return hth_fail(err, HTH_ERR_RANGE, "'%s' is no numeric address", address);
    const int fd = socket(a.any.sa_family, SOCK_STREAM, 0);
    const int on = 1, off = 0;
    if (fd < 0) return refuse(fd, address, *port, err);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a.any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &a.any, n) != 0 || listen(fd, SOMAXCONN) != 0) return refuse(fd, address, *port, err);
    if (getsockname(fd, &a.any, &n) != 0) return refuse(fd, address, *port, err);
    *port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    *out = fd;
    return HTH_OK;
}

void hth_socket_close(int fd) {
    if (fd >= 0) close(fd);
}

void hth_socket_shut(int fd) {
    shutdown(fd, SHUT_RDWR);
}

void hth_socket_address(const struct sockaddr *any, char out[HTH_ADDRESS_TEXT]) {
    any_address a;
    out[0] = 0;
    if (!any) return;
    if (any->sa_family == AF_INET) {
        memcpy(&a.v4, any, sizeof a.v4);
        inet_ntop(AF_INET, &a.v4.sin_addr, out, HTH_ADDRESS_TEXT);
    } else if (any->sa_family == AF_INET6) {
        memcpy(&a.v6, any, sizeof a.v6);
        const bool is_mapped = IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr);
        if (is_mapped)
            inet_ntop(AF_INET, &a.v6.sin6_addr.s6_addr[12], out, HTH_ADDRESS_TEXT);
        else
            inet_ntop(AF_INET6, &a.v6.sin6_addr, out, HTH_ADDRESS_TEXT);
    }
}

bool hth_socket_is_loopback(const char *address) {
    any_address a;
    socklen_t n;
    if (!parse(address, 0, &a, &n)) return false;
    if (a.any.sa_family == AF_INET) return (ntohl(a.v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

void hth_socket_ignore_pipe(void) {
    signal(SIGPIPE, SIG_IGN);
}

void hth_socket_raise_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= r.rlim_max) return;
    r.rlim_cur = r.rlim_max > 65536 ? 65536 : r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}
