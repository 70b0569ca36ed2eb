/* See FreeRTOS.h. */
#ifndef TASK_H
#define TASK_H
#include "FreeRTOS.h"
#endif
