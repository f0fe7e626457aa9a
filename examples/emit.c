/* A function emitted at run time that sleeps, awaits another goroutine, and gives 3 * its value + 1.
 * docs/jit.md explains each line. */
#define _GNU_SOURCE
#include <goroutine.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static unsigned char *code; /* where the next instruction goes */

#define BYTES(...) put((const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}))
static void put(const void *bytes, size_t n) {
    memcpy(code, bytes, n);
    code += n;
}
static void put_u64(uint64_t value) { put(&value, 8); }

static void emit_three_n_plus_one(void) {
    int32_t current = goroutine_tls_offset();
    BYTES(0x64, 0x48, 0x8B, 0x04, 0x25), put(&current, 4);   /*  0  mov  rax, fs:[current]                          */
    BYTES(0x48, 0x3B, 0x20);                                 /*  9  cmp  rsp, [rax]              stack_limit        */
    BYTES(0x72, 0x52);                                       /* 12  jb   96                                         */
    BYTES(0x53);                                             /* 14  push rbx                                        */
    BYTES(0x6A, 0x00);                                       /* 15  push 0                       the awaited value  */
    BYTES(0x48, 0x89, 0xFB);                                 /* 17  mov  rbx, rdi                the promise        */
    BYTES(0xBF, 0x40, 0x42, 0x0F, 0x00);                     /* 20  mov  edi, 1000000            1 ms               */
    BYTES(0x48, 0xB8), put_u64((uintptr_t)goroutine_sleep);  /* 25  mov  rax, goroutine_sleep                       */
    BYTES(0xFF, 0xD0);                                       /* 35  call rax                     parks              */
    BYTES(0x85, 0xC0, 0x78, 0x3E);                           /* 37  test eax, eax; js 103                           */
    BYTES(0x83, 0x3B, 0x01);                                 /* 41  cmp  dword [rbx], 1          state: RESOLVED?   */
    BYTES(0x74, 0x1F);                                       /* 44  je   77                      no call needed     */
    BYTES(0x48, 0x89, 0xDF);                                 /* 46  mov  rdi, rbx                                   */
    BYTES(0x48, 0xC7, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF);         /* 49  mov  rsi, -1                 GOROUTINE_FOREVER  */
    BYTES(0x48, 0x89, 0xE2);                                 /* 56  mov  rdx, rsp                                   */
    BYTES(0x48, 0xB8), put_u64((uintptr_t)goroutine_promise_await); /* 59  mov rax, goroutine_promise_await         */
    BYTES(0xFF, 0xD0);                                       /* 69  call rax                     parks              */
    BYTES(0x85, 0xC0, 0x78, 0x1C);                           /* 71  test eax, eax; js 103                           */
    BYTES(0xEB, 0x06);                                       /* 75  jmp  83                                         */
    BYTES(0x48, 0x8B, 0x43, 0x08);                           /* 77  mov  rax, [rbx + 8]          value              */
    BYTES(0xEB, 0x04);                                       /* 81  jmp  87                                         */
    BYTES(0x48, 0x8B, 0x04, 0x24);                           /* 83  mov  rax, [rsp]                                 */
    BYTES(0x59, 0x5B);                                       /* 87  pop  rcx; pop rbx                               */
    BYTES(0x48, 0x8D, 0x44, 0x40, 0x01);                     /* 89  lea  rax, [rax + 2 * rax + 1]                   */
    BYTES(0xC3);                                             /* 94  ret                          settles            */
    BYTES(0x90);                                             /* 95  nop                                             */
    BYTES(0x66, 0x90, 0xB8, 0xFD, 0xEF, 0xFF, 0xFF);         /* 96  mov  eax, ESTACKOVERFLOW                        */
    BYTES(0x89, 0xC7, 0x31, 0xF6);                           /* 103 mov  edi, eax; xor esi, esi                     */
    BYTES(0x48, 0xB8), put_u64((uintptr_t)goroutine_exit);   /* 107 mov  rax, goroutine_exit                        */
    BYTES(0xFF, 0xD0);                                       /* 117 call rax                     does not come back */
}
