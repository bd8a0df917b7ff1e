// Looks a listening socket up in /proc/net, and whose it is in the /proc/N/fd that may be read.
#include "os/port.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__

// The inode of the socket that listens on the port, by one of the two tables; 0 where there is none.
static unsigned long find_inode(const char *table, int port) {
    FILE *f = fopen(table, "re");
    if (!f) return 0;
    char line[512];
    unsigned long inode = 0;
    while (inode == 0 && fgets(line, sizeof line, f)) {
        unsigned local, state;
        unsigned long found;
        // "  0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 12345 ..."
        int n = sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &local,
                       &state, &found);
        if (n == 3 && (int)local == port && state == 0x0a) inode = found;
    }
    (void)fclose(f);
    return inode;
}

// Whether a process has the socket open.
static bool holds(const char *process, const char *socket_name) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", process);
    DIR *d = opendir(path);
    if (!d) return false;
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = 0;
        found = strcmp(target, socket_name) == 0;
    }
    (void)closedir(d);
    return found;
}

static void name_of(const char *process, char *name, size_t n) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/comm", process);
    snprintf(name, n, "a program");
    FILE *f = fopen(path, "re");
    if (!f) return;
    if (fgets(name, (int)n, f)) name[strcspn(name, "\n")] = 0;
    (void)fclose(f);
}

bool hth_port_holder(int port, char *text, size_t n) {
    unsigned long inode = find_inode("/proc/net/tcp", port);
    if (inode == 0) inode = find_inode("/proc/net/tcp6", port);
    DIR *d = inode ? opendir("/proc") : NULL;
    if (!d) return false;
    char socket_name[64], name[64];
    snprintf(socket_name, sizeof socket_name, "socket:[%lu]", inode);
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !holds(e->d_name, socket_name)) continue;
        name_of(e->d_name, name, sizeof name);
        snprintf(text, n, "%s (process %.20s)", name, e->d_name);
        found = true;
    }
    (void)closedir(d);
    return found;
}

#else

bool hth_port_holder(int port, char *text, size_t n) {
    (void)port, (void)text, (void)n;
    return false;
}

#endif
