// Many clients of a server at once, over HTTP: how fast it answers all of them, how evenly, and what that costs it.
// One thread that sleeps in poll(), so that it takes little from a server on the same machine.
//
//   bench_serve_load http://HOST:PORT [--clients N] [--requests R] [--prompt P] [--generate G] [--model NAME]
//                    [--pid PID] [--think MS] [--cached] [--unlimited] [--script]
//
// Each of N clients asks R times on a connection of its own, in any server's /v1/chat/completions as a stream: a
// prompt of about P tokens that nobody else has (--cached: all the same one) for G tokens that nothing ends. Without
// --model the server's own is meant. --pid names the server's process: its CPU time and memory are read from /proc.
// --unlimited leaves max_tokens out. --script (with a server that takes X-Hearth-Script) checks that every answer is
// the one that was asked for, of G numbers. Times of the first token and of the gaps in ms; one line of CSV.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/socket.h"

enum { MOST_LINE = 1 << 20 };

typedef enum body_part { HEAD, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, REST } body_part;

typedef struct client {
    int fd; // -1: none
    int n_asked;
    uint64_t due_ns;          // asks then
    bool is_asking, is_whole; // whole: the stream said that it is over
    bool is_reused;           // the connection has served a request before
    hth_str out;
    size_t n_sent;
    body_part part;
    size_t chunk_left;
    hth_str line;   // of the head, of a chunk's size, or of the stream
    hth_str event;  // the line of the stream that is not complete
    hth_str answer; // --script
    int status;
    uint64_t begin_ns, last_ns;
    int64_t n_token;
} client;

typedef struct load {
    const char *host, *port, *path, *model;
    int n_client, n_request, n_prompt, n_generate, pid, think_ms;
    bool is_cached, is_unlimited, has_script;
    struct addrinfo *address;
    client *clients;
    float *gaps, *firsts; // ms
    size_t n_gap, n_first, cap_gap;
    int64_t n_token, n_prompt_token, n_error, n_mixed, n_left;
    int next_prompt;
} load;

static load l;

static void die(const char *what) {
    fprintf(stderr, "bench_serve_load: %s\n", what);
    exit(1);
}

static void must(bool ok) {
    if (!ok) die("no memory");
}

// ---- what is asked

static const char *const words[] = {"river", "stone", "house", "light", "paper", "green", "music", "water",
                                    "table", "horse", "cloud", "night", "green", "bread", "chair", "money",
                                    "heart", "story", "world", "earth", "white", "black", "north", "south",
                                    "child", "woman", "sound", "field", "plant", "metal", "glass", "train"};

static void write_prompt(hth_str *to, int number) {
    uint32_t state = (uint32_t)number * 2654435761u + 1;
    for (int i = 0; i < l.n_prompt; i++) {
        state = state * 1664525u + 1013904223u;
        must(hth_str_printf(to, "%s%s", i ? " " : "", words[state >> 27]));
    }
}

static void write_script(hth_str *to, int number) {
    for (int i = 0; i < l.n_generate; i++) must(hth_str_printf(to, "%s%d", i ? " " : "", number));
}

static void ask(client *c) {
    hth_str body, script;
    const int number = l.is_cached ? 0 : ++l.next_prompt;
    hth_str_init(&body, HTH_MEM_MISC, MOST_LINE);
    hth_str_init(&script, HTH_MEM_MISC, MOST_LINE);
    must(hth_str_printf(&body, "{\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                               "\"temperature\":0.8,\"top_k\":40,\"seed\":%d,", number));
    if (l.model) must(hth_str_printf(&body, "\"model\":\"%s\",", l.model));
    if (!l.has_script) must(hth_str_printf(&body, "\"ignore_eos\":true,"));
    if (!l.is_unlimited && !l.has_script) must(hth_str_printf(&body, "\"max_tokens\":%d,", l.n_generate));
    must(hth_str_printf(&body, "\"messages\":[{\"role\":\"user\",\"content\":\""));
    write_prompt(&body, number);
    must(hth_str_printf(&body, "\"}]}"));
    hth_str_clear(&c->out);
    hth_str_clear(&c->answer);
    must(hth_str_printf(&c->out, "POST %s/v1/chat/completions HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\n",
                        l.path, l.host, l.port));
    if (l.has_script) {
        write_script(&script, (int)(c - l.clients) * 1000 + c->n_asked);
        must(hth_str_printf(&c->out, "X-Hearth-Script: %s\r\n", hth_str_text(&script)));
    }
    must(hth_str_printf(&c->out, "Content-Length: %zu\r\n\r\n", body.len) && hth_str_append(&c->out, body.p, body.len));
    hth_str_free(&body);
    hth_str_free(&script);
    c->n_sent = 0;
    c->part = HEAD;
    c->status = 0;
    c->is_asking = true;
    c->is_whole = false;
    c->n_token = 0;
    hth_str_clear(&c->line);
    hth_str_clear(&c->event);
    c->begin_ns = c->last_ns = hth_clock_ns();
}

static bool connect_client(client *c) {
    const int on = 1;
    c->is_reused = false;
    c->fd = socket(l.address->ai_family, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, l.address->ai_addr, l.address->ai_addrlen) != 0) return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) == 0;
}

static void hang_up(client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void check_script(client *c) {
    hth_str want;
    hth_str_init(&want, HTH_MEM_MISC, MOST_LINE);
    write_script(&want, (int)(c - l.clients) * 1000 + c->n_asked);
    if (c->answer.len != want.len || memcmp(c->answer.p, want.p, want.len) != 0) l.n_mixed++;
    hth_str_free(&want);
}

static void end_request(client *c, bool is_good) {
    c->is_asking = false;
    if (!is_good) {
        if (l.n_error++ == 0) fprintf(stderr, "first error: %s, status %d, %.300s\n", c->fd < 0 ? "no connection" : "reply", c->status, hth_str_text(&c->event));
        hang_up(c);
    } else if (l.has_script) {
        check_script(c);
    }
    c->n_asked++;
    c->is_reused = true;
    c->due_ns = hth_clock_ns() + (uint64_t)l.think_ms * 1000000;
    if (c->n_asked < l.n_request) return;
    l.n_left--;
    hang_up(c);
}

// ---- what comes

static int64_t number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

// The text of a script has neither escapes nor quotation marks.
static void take_text(client *c, const char *text) {
    const uint64_t now = hth_clock_ns();
    const float ms = (float)((double)(now - (c->n_token ? c->last_ns : c->begin_ns)) / 1e6);
    if (c->n_token++ == 0) l.firsts[l.n_first++] = ms;
    else if (l.n_gap < l.cap_gap) l.gaps[l.n_gap++] = ms;
    c->last_ns = now;
    if (!l.has_script) return;
    const char *end = strchr(text, '"');
    if (end) must(hth_str_append(&c->answer, text, (size_t)(end - text)));
}

static void take_event(client *c) {
    static const char content[] = "\"content\":\"";
    const char *line = hth_str_text(&c->event), *text;
    if (strncmp(line, "data: ", 6) != 0) return;
    if (strncmp(line, "data: [DONE]", 12) == 0) {
        c->is_whole = true;
        return;
    }
    text = strstr(line, content);
    if (text && text[sizeof content - 1] != '"') take_text(c, text + sizeof content - 1);
    if (strstr(line, "\"usage\":{")) {
        l.n_token += number_after(line, "\"completion_tokens\":");
        l.n_prompt_token += number_after(line, "\"prompt_tokens\":");
    }
}

static void take_body(client *c, const char *p, size_t n) {
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        const size_t part = end ? (size_t)(end - p) : n;
        must(hth_str_append(&c->event, p, part));
        if (end) {
            take_event(c);
            if (c->status == 200) hth_str_clear(&c->event);
        }
        p += part + (end != NULL);
        n -= part + (end != NULL);
    }
}

static bool take_line(client *c, const char **p, size_t *n) {
    const char *end = memchr(*p, '\n', *n);
    const size_t part = end ? (size_t)(end - *p) + 1 : *n;
    must(hth_str_append(&c->line, *p, part));
    *p += part;
    *n -= part;
    return end != NULL;
}

// A line of the head, or around chunks. False where the reply is over.
static bool take_framing(client *c) {
    const char *line = hth_str_text(&c->line);
    const bool is_empty = line[0] == '\r' || line[0] == '\n';
    if (c->part == TRAILER && is_empty) return false;
    if (c->part == CHUNK_END) {
        c->part = CHUNK_SIZE;
    } else if (c->part == CHUNK_SIZE) {
        c->chunk_left = strtoul(line, NULL, 16);
        c->part = c->chunk_left ? CHUNK : TRAILER;
    } else if (c->part == HEAD) {
        if (c->status == 0) c->status = atoi(line + 9); // "HTTP/1.1 200"
        if (is_empty) c->part = c->status == 200 ? CHUNK_SIZE : REST;
    }
    hth_str_clear(&c->line);
    return true;
}

// What the server sent. False where the reply is over.
static bool take(client *c, const char *p, size_t n) {
    while (n > 0) {
        if (c->part == REST) return take_body(c, p, n), false;
        if (c->part == CHUNK) {
            const size_t part = n < c->chunk_left ? n : c->chunk_left;
            take_body(c, p, part);
            p += part;
            n -= part;
            if ((c->chunk_left -= part) == 0) c->part = CHUNK_END;
        } else if (take_line(c, &p, &n) && !take_framing(c)) {
            return false;
        }
    }
    return true;
}

static void begin_anew(client *c) {
    hang_up(c);
    c->n_sent = 0;
    if (!connect_client(c)) end_request(c, false);
}

static void receive(client *c) {
    static char buffer[1 << 16];
    const ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (!c->is_asking) return hang_up(c);
    // A server may close a connection after a reply: asked again on a new one, as clients do.
    if (n <= 0 && c->is_reused && c->status == 0 && c->line.len == 0) return begin_anew(c);
    if (n <= 0) return end_request(c, false);
    if (!take(c, buffer, (size_t)n)) end_request(c, c->status == 200 && c->is_whole && c->n_token > 0);
}

static void send_rest(client *c) {
    const ssize_t n = send(c->fd, c->out.p + c->n_sent, c->out.len - c->n_sent, 0);
    if (n > 0) c->n_sent += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR) end_request(c, false);
}

// ---- all of them

// Starts what is due; returns ms until the next one is.
static int begin_due(void) {
    const uint64_t now = hth_clock_ns();
    int wait = 1000;
    for (int i = 0; i < l.n_client; i++) {
        client *c = &l.clients[i];
        if (c->is_asking || c->n_asked >= l.n_request) continue;
        if (c->due_ns > now) {
            const int ms = (int)((c->due_ns - now) / 1000000) + 1;
            if (ms < wait) wait = ms;
            continue;
        }
        ask(c);
        if (c->fd < 0 && !connect_client(c)) end_request(c, false);
    }
    return wait;
}

static void run(void) {
    struct pollfd *polls = hth_calloc(HTH_MEM_MISC, (size_t)l.n_client, sizeof *polls);
    must(polls != NULL);
    while (l.n_left > 0) {
        const int wait = begin_due();
        for (int i = 0; i < l.n_client; i++) {
            const client *c = &l.clients[i];
            const bool sends = c->is_asking && c->n_sent < c->out.len;
            polls[i] = (struct pollfd){.fd = c->fd, .events = (short)(sends ? POLLIN | POLLOUT : POLLIN)};
        }
        if (poll(polls, (nfds_t)l.n_client, wait) < 0) continue;
        for (int i = 0; i < l.n_client; i++) {
            client *c = &l.clients[i];
            if (polls[i].revents & POLLOUT) send_rest(c);
            if (c->fd >= 0 && polls[i].revents & (POLLIN | POLLERR | POLLHUP)) receive(c);
        }
    }
    hth_free(polls);
}

// ---- numbers

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(const float *sorted, size_t n, double q) {
    return n == 0 ? NAN : (double)sorted[(size_t)(q * (double)(n - 1) + 0.5)];
}

// Seconds of CPU that a process has had, and its memory in MB; NAN where /proc has no such thing.
static double process_seconds(int pid) {
    char path[64];
    double ticks[2];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = pid ? fopen(path, "r") : NULL;
    if (!f) return NAN;
    const int n = fscanf(f, "%*d (%*[^)]) %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lf %lf", &ticks[0], &ticks[1]);
    fclose(f);
    return n == 2 ? (ticks[0] + ticks[1]) / (double)sysconf(_SC_CLK_TCK) : NAN;
}

static double process_megabytes(int pid) {
    char path[64];
    double pages;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = pid ? fopen(path, "r") : NULL;
    if (!f) return NAN;
    const int n = fscanf(f, "%*f %lf", &pages);
    fclose(f);
    return n == 1 ? pages * (double)sysconf(_SC_PAGESIZE) / 1e6 : NAN;
}

static double own_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(double seconds, double cpu) {
    qsort(l.firsts, l.n_first, sizeof *l.firsts, compare);
    qsort(l.gaps, l.n_gap, sizeof *l.gaps, compare);
    printf("clients,requests,prompt_tokens,tokens,seconds,tokens_per_s,first_p50_ms,first_p95_ms,gap_p50_ms,gap_p99_ms,"
           "gap_max_ms,errors,mixed,server_cpu_us_per_token,server_MB,own_cpu_share\n");
    printf("%d,%d,%" PRId64 ",%" PRId64 ",%.2f,%.1f,%.1f,%.1f,%.1f,%.1f,%.1f,%" PRId64 ",%" PRId64 ",%.1f,%.1f,%.3f\n",
           l.n_client, l.n_client * l.n_request, l.n_prompt_token, l.n_token, seconds, (double)l.n_token / seconds,
           quantile(l.firsts, l.n_first, 0.5), quantile(l.firsts, l.n_first, 0.95), quantile(l.gaps, l.n_gap, 0.5),
           quantile(l.gaps, l.n_gap, 0.99), quantile(l.gaps, l.n_gap, 1), l.n_error, l.n_mixed,
           cpu * 1e6 / (double)l.n_token, process_megabytes(l.pid), own_seconds() / seconds);
}

// ---- the command line

static int read_number(const char *name, const char *text) {
    char *end;
    const long n = text ? strtol(text, &end, 10) : -1;
    if (text && *end == '\0' && n >= 0 && n <= 1000000000) return (int)n;
    fprintf(stderr, "bench_serve_load: %s needs a number\n", name);
    exit(1);
}

static void read_url(char *url) {
    char *colon, *slash;
    if (strncmp(url, "http://", 7) != 0) die("the first word is http://HOST:PORT");
    l.host = url + 7;
    slash = strchr(url + 7, '/');
    l.path = "";
    if (slash && slash[1] != '\0') die("paths behind the port are not known here");
    if (slash) *slash = '\0';
    colon = strrchr(url + 7, ':');
    if (!colon) die("the first word is http://HOST:PORT");
    *colon = '\0';
    l.port = colon + 1;
}

static void read_words(int argc, char **argv) {
    const struct {
        const char *name;
        int *to;
    } numbers[] = {{"--clients", &l.n_client}, {"--requests", &l.n_request}, {"--prompt", &l.n_prompt},
                   {"--generate", &l.n_generate}, {"--pid", &l.pid}, {"--think", &l.think_ms}};
    const struct {
        const char *name;
        bool *to;
    } switches[] = {{"--cached", &l.is_cached}, {"--unlimited", &l.is_unlimited}, {"--script", &l.has_script}};
    for (int i = 2; i < argc; i++) {
        bool is_known = false;
        for (size_t k = 0; k < HTH_COUNT(switches); k++) {
            if (strcmp(argv[i], switches[k].name) == 0) is_known = *switches[k].to = true;
        }
        for (size_t k = 0; !is_known && k < HTH_COUNT(numbers); k++) {
            if (strcmp(argv[i], numbers[k].name) != 0) continue;
            *numbers[k].to = read_number(argv[i], argv[i + 1]);
            is_known = true;
            i++;
        }
        if (!is_known && strcmp(argv[i], "--model") == 0 && argv[i + 1]) l.model = argv[++i];
        else if (!is_known) die("there is no such option; the file's head names them");
    }
}

static void prepare(void) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(l.host, l.port, &hints, &l.address) != 0) die("there is no such host");
    if (l.n_client < 1 || l.n_request < 1) die("there is nothing to ask");
    const size_t n = (size_t)l.n_client, n_answer = n * (size_t)l.n_request;
    l.cap_gap = n_answer * (size_t)l.n_generate;
    l.clients = hth_calloc(HTH_MEM_MISC, n, sizeof *l.clients);
    l.firsts = hth_calloc(HTH_MEM_MISC, n_answer, sizeof *l.firsts);
    l.gaps = hth_calloc(HTH_MEM_MISC, l.cap_gap + 1, sizeof *l.gaps);
    must(l.clients && l.firsts && l.gaps);
    for (size_t i = 0; i < n; i++) {
        client *c = &l.clients[i];
        c->fd = -1;
        hth_str_init(&c->out, HTH_MEM_MISC, 2 * MOST_LINE);
        hth_str_init(&c->line, HTH_MEM_MISC, MOST_LINE);
        hth_str_init(&c->event, HTH_MEM_MISC, MOST_LINE);
        hth_str_init(&c->answer, HTH_MEM_MISC, MOST_LINE);
    }
    l.n_left = l.n_client;
}

int main(int argc, char **argv) {
    l = (load){.n_client = 8, .n_request = 4, .n_prompt = 64, .n_generate = 64};
    if (argc < 2) die("the first word is http://HOST:PORT; the file's head names the options");
    read_url(argv[1]);
    read_words(argc, argv);
    prepare();
    hth_socket_ignore_pipe();
    hth_socket_raise_limit();
    const double cpu = process_seconds(l.pid);
    const uint64_t begin = hth_clock_ns();
    run();
    report((double)(hth_clock_ns() - begin) / 1e9, process_seconds(l.pid) - cpu);
    freeaddrinfo(l.address);
    return l.n_error || l.n_mixed ? 1 : 0;
}
