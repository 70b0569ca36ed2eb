/* A stand-in that declares what the port uses of the kernel, and nothing of its text: enough to compile against. */
#ifndef FREERTOS_H
#define FREERTOS_H
#include <stddef.h>
#include <stdint.h>
typedef uintptr_t StackType_t;
typedef uintptr_t UBaseType_t;
typedef long BaseType_t;
typedef struct tskTaskControlBlock *TaskHandle_t;
#define portGET_CORE_ID() 0
#include "FreeRTOSConfig.h"
#endif
