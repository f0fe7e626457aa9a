/* A function emitted at run time: it sleeps, awaits a promise, gives 3 * its value + 1. docs/jit.md explains it. */
#define _GNU_SOURCE
#include <goroutine.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static unsigned char *at; /* where the next instruction goes */

static void put(const void *bytes, size_t n) {
    memcpy(at, bytes, n);
    at += n;
}
#define BYTES(...) put((const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}))
#define ADDRESS(function) put(&(uintptr_t){(uintptr_t)(function)}, 8)

static void emit(void) {
    int32_t current = goroutine_tls_offset();
    BYTES(0x64, 0x48, 0x8B, 0x04, 0x25); put(&current, 4);       /* 00 mov  rax, fs:[current]                     */
    BYTES(0x48, 0x3B, 0x20);                                     /* 09 cmp  rsp, [rax]         its stack_limit    */
    BYTES(0x72, 0x45);                                           /* 0C jb   53                                    */
    BYTES(0x53);                                                 /* 0E push rbx                                   */
    BYTES(0x48, 0x89, 0xFB);                                     /* 0F mov  rbx, rdi           the promise        */
    BYTES(0xBF, 0x40, 0x42, 0x0F, 0x00);                         /* 12 mov  edi, 1000000       1 ms               */
    BYTES(0x48, 0xB8); ADDRESS(goroutine_sleep);                 /* 17 mov  rax, goroutine_sleep                  */
    BYTES(0xFF, 0xD0);                                           /* 21 call rax                parks              */
    BYTES(0x85, 0xC0);                                           /* 23 test eax, eax                              */
    BYTES(0x78, 0x31);                                           /* 25 js   58                                    */
    BYTES(0x83, 0x3B, 0x01);                                     /* 27 cmp  dword [rbx], 1     state: resolved?   */
    BYTES(0x74, 0x1C);                                           /* 2A je   48                 no call needed     */
    BYTES(0x48, 0x89, 0xDF);                                     /* 2C mov  rdi, rbx                              */
    BYTES(0x48, 0xC7, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF);             /* 2F mov  rsi, -1            GOROUTINE_FOREVER  */
    BYTES(0x31, 0xD2);                                           /* 36 xor  edx, edx           NULL               */
    BYTES(0x48, 0xB8); ADDRESS(goroutine_promise_await);         /* 38 mov  rax, goroutine_promise_await          */
    BYTES(0xFF, 0xD0);                                           /* 42 call rax                parks              */
    BYTES(0x85, 0xC0);                                           /* 44 test eax, eax                              */
    BYTES(0x78, 0x10);                                           /* 46 js   58                                    */
    BYTES(0x48, 0x8B, 0x43, 0x08);                               /* 48 mov  rax, [rbx + 8]     the value          */
    BYTES(0x48, 0x8D, 0x44, 0x40, 0x01);                         /* 4C lea  rax, [rax + rax * 2 + 1]              */
    BYTES(0x5B);                                                 /* 51 pop  rbx                                   */
    BYTES(0xC3);                                                 /* 52 ret                     resolves with rax  */
    BYTES(0xB8, 0xFD, 0xEF, 0xFF, 0xFF);                         /* 53 mov  eax, GOROUTINE_ESTACKOVERFLOW         */
    BYTES(0x89, 0xC7);                                           /* 58 mov  edi, eax                              */
    BYTES(0x31, 0xF6);                                           /* 5A xor  esi, esi                              */
    BYTES(0x48, 0xB8); ADDRESS(goroutine_exit);                  /* 5C mov  rax, goroutine_exit                   */
    BYTES(0xFF, 0xD0);                                           /* 66 call rax                does not come back */
}

int main(void) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *value = NULL;
    if (memory == MAP_FAILED) return 1;
    at = memory;
    emit();
    if (mprotect(memory, 4096, PROT_READ | PROT_EXEC) != 0) return 1;

    GoroutineFn emitted = (GoroutineFn)(uintptr_t)memory;
    GoroutinePromise *seed = goroutine_promise_new();
    GoroutinePromise *first = goroutine_spawn(emitted, seed), *second = goroutine_spawn(emitted, first);
    goroutine_promise_resolve(seed, (void *)14);
    if (goroutine_promise_await(second, GOROUTINE_FOREVER, &value) != GOROUTINE_OK) return 1;
    printf("%d\n", (int)(intptr_t)value);

    goroutine_promise_release(seed);
    goroutine_promise_release(first);
    goroutine_promise_release(second);
    return goroutine_runtime_shutdown(GOROUTINE_FOREVER) != GOROUTINE_OK;
}

/* Prints:
130
*/
