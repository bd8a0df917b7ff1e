// cmocka wants these headers before its own.
#ifndef HTH_TEST_UNIT_CMOCKA_ALL_H
#define HTH_TEST_UNIT_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#endif
