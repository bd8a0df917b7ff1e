// Where a program keeps its own files, by the custom of the system: XDG's folders, or macOS's Application Support.
#ifndef HTH_OS_FOLDERS_H
#define HTH_OS_FOLDERS_H

#include "base/err.h"
#include "base/str.h"

typedef enum hth_own_folder {
    HTH_FOLDER_CONFIG, // what a person writes
    HTH_FOLDER_STATE,  // what the program writes and wants to find again
} hth_own_folder;

// The folder's path, which need not be there. HTH_ERR_NOTFOUND where the user has no home folder.
HTH_NODISCARD hth_code hth_own_folder_path(hth_own_folder which, hth_str *path, hth_err *err);

#endif
