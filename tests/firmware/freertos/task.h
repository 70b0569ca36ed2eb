/* See FreeRTOS.h. */
#ifndef TASK_H
#define TASK_H
#include "FreeRTOS.h"
#define taskSCHEDULER_NOT_STARTED 1
BaseType_t xTaskGetSchedulerState(void);
char *pcTaskGetName(TaskHandle_t task);
#endif
