// The program's own folders.
#include "os/folders.h"

#include <stdlib.h>

hth_code hth_own_folder_path(hth_own_folder which, hth_str *path, hth_err *err) {
    hth_str_clear(path);
#ifndef __APPLE__
    const char *xdg = getenv(which == HTH_FOLDER_CONFIG ? "XDG_CONFIG_HOME" : "XDG_STATE_HOME");
    if (xdg && xdg[0] == '/') { // the specification: others are ignored
        hth_str_printf(path, "%s/hearth", xdg);
        return path->failed ? hth_fail_nomem(err, path->max) : HTH_OK;
    }
    const char *below = which == HTH_FOLDER_CONFIG ? ".config/hearth" : ".local/state/hearth";
#else
    const char *below = which == HTH_FOLDER_CONFIG ? "Library/Application Support/Hearth"
                                                   : "Library/Application Support/Hearth/state";
#endif
    const char *home = getenv("HOME");
    if (!home || home[0] != '/') {
        return hth_fail(err, HTH_ERR_NOTFOUND, "there is no home folder: HOME is not set");
    }
    hth_str_printf(path, "%s/%s", home, below);
    return path->failed ? hth_fail_nomem(err, path->max) : HTH_OK;
}
