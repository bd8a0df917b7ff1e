// Runs a fuzz target over given files and the files of given folders, without libFuzzer: any compiler
// and sanitizer can replay a corpus. Prints one line; a crash is the report.
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long n_run;

static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        if (f) fclose(f);
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    long n = ftell(f);
    rewind(f);
    uint8_t *data = malloc(n > 0 ? (size_t)n : 1); // exact size: an over-read is seen
    int bad = n < 0 || !data || fread(data, 1, (size_t)n, f) != (size_t)n;
    fclose(f);
    if (bad) {
        fprintf(stderr, "cannot read %s\n", path);
    } else {
        LLVMFuzzerTestOneInput(data, (size_t)n);
        n_run++;
    }
    free(data);
    return bad;
}

static int replay_folder(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "cannot open %s\n", path);
        return 1;
    }
    int bad = 0;
    for (const struct dirent *e; (e = readdir(folder));) {
        char file[4096];
        if (e->d_name[0] == '.') continue;
        int n = snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        bad |= n < 0 || (size_t)n >= sizeof file || replay_file(file);
    }
    closedir(folder);
    return bad;
}

int main(int argc, char **argv) {
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bad |= stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("%ld inputs replayed\n", n_run);
    return bad || n_run == 0;
}
