/* The word at fs:[goroutine_tls_offset()], read by emitted code, is the current goroutine; on plain threads it points to zeros,
 * from before the start. goroutine_safepoint_full keeps every register. */
#include "emit.h"

static void *(*read_tls)(void);
static uint64_t answers;

static void on_plain_thread(void) {
    static const uint8_t ZEROS[GOROUTINE_HEADER_BYTES] = {0};
    void *word = read_tls();
    CHECK(word != NULL && goroutine_current() == NULL);
    CHECK(memcmp(word, ZEROS, sizeof ZEROS) == 0);
}
static void *in_thread(void *arg) {
    on_plain_thread();
    return arg;
}
static void *in_goroutine(void *arg) {
    Goroutine *self = goroutine_current();
    int i;
    for (i = 0; i < 50; i++) {
        CHECK(read_tls() == (void *)self && goroutine_current() == self);
        CHECK_EQ(*(uint64_t *)(void *)((char *)read_tls() + GOROUTINE_OFFSET_ID), goroutine_id(self));
        if (i % 10 == 0) OK(goroutine_sleep(10 * US));
        else goroutine_yield();
    }
    ADD(answers, 1);
    return arg;
}
static bool off_the_stack(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    on_plain_thread(); /* nobody runs while a commit does */
    return false;
}
static void *in_commit(void *arg) {
    OK(goroutine_park(off_the_stack, NULL, GOROUTINE_FOREVER));
    return arg;
}

/* ---- goroutine_safepoint_full ---- */
typedef struct Image {
    uint64_t general[16]; /* 0; by number, rsp unused */
    uint64_t flags;       /* 128 */
    uint64_t unused;
    uint8_t vectors[16][32]; /* 144 */
} Image;

/* uint64_t f(const Image *in, Image *out): loads everything, calls goroutine_safepoint_full by its address in memory (no register
 * is free), stores everything. Raises `preempt` before, if asked, so that the call really gives way. */
static void *emit_full(bool avx, bool preempt, unsigned misalignment) {
    static uint64_t function;
    Emit e = emit_begin(4096);
    unsigned i;
    function = U(CODE(goroutine_safepoint_full));
    EMIT(&e, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57");
    emit_move_stack(&e, -(int32_t)(40 + misalignment)); /* rsp at 0 mod 16, or at 8 */
    emit_store(&e, RSI, RSP, 8);
    if (preempt) { /* mov rax, fs:[offset]; mov dword [rax + 16], 1 */
        EMIT(&e, "\x64\x48\x8B\x04\x25");
        emit_u32(&e, (uint32_t)goroutine_tls_offset());
        EMIT(&e, "\xC7\x40\x10\x01\x00\x00\x00");
    }
    emit_constant(&e, RAX, U(&function));
    EMIT(&e, "\x48\x8B\x00");
    emit_store(&e, RAX, RSP, 16); /* [rsp + 16] = the function */
    for (i = 0; i < 16; i++) { /* vmovups ymm, [rdi + d] or movups xmm, [rdi + d] */
        if (avx) {
            EMIT(&e, "\xC5");
            emit_u8(&e, (i >= 8 ? 0x00u : 0x80u) | 0x7C);
            emit_u8(&e, 0x10);
        } else {
            if (i >= 8) EMIT(&e, "\x44");
            EMIT(&e, "\x0F\x10");
        }
        emit_u8(&e, 0x80 | (i & 7) << 3 | RDI);
        emit_u32(&e, 144 + 32 * i);
    }
    EMIT(&e, "\xFF\xB7"); /* push qword [rdi + 128]; popfq */
    emit_u32(&e, 128);
    EMIT(&e, "\x9D");
    for (i = 0; i < 16; i++) {
        if (i != RSP && i != RDI) emit_load(&e, i, RDI, (int32_t)i * 8);
    }
    emit_load(&e, RDI, RDI, RDI * 8);
    EMIT(&e, "\xFF\x54\x24\x10"); /* call [rsp + 16] */
    emit_store(&e, RAX, RSP, 24);
    emit_load(&e, RAX, RSP, 8);
    for (i = 1; i < 16; i++) {
        if (i != RSP) emit_store(&e, i, RAX, (int32_t)i * 8);
    }
    EMIT(&e, "\x9C\x59"); /* pushfq; pop rcx */
    emit_store(&e, RCX, RAX, 128);
    emit_load(&e, RCX, RSP, 24);
    emit_store(&e, RCX, RAX, 0);
    for (i = 0; i < 16; i++) {
        if (avx) {
            EMIT(&e, "\xC5");
            emit_u8(&e, (i >= 8 ? 0x00u : 0x80u) | 0x7C);
            emit_u8(&e, 0x11);
        } else {
            if (i >= 8) EMIT(&e, "\x44");
            EMIT(&e, "\x0F\x11");
        }
        emit_u8(&e, 0x80 | (i & 7) << 3 | RAX);
        emit_u32(&e, 144 + 32 * i);
    }
    if (avx) EMIT(&e, "\xC5\xF8\x77"); /* vzeroupper */
    EMIT(&e, "\xFC");                  /* cld */
    emit_move_stack(&e, (int32_t)(40 + misalignment));
    EMIT(&e, "\x41\x5F\x41\x5E\x41\x5D\x41\x5C\x5D\x5B");
    emit_return(&e);
    return emit_end(&e);
}

static void *full[2][2]; /* preempt, misalignment */
static bool has_avx;

static void *keeps_all(void *arg) {
    uint64_t random = random_seed(3, U(arg));
    int turn, rounds = (int)scaled(300, 10);
    for (turn = 0; turn < rounds; turn++) {
        Image in, out;
        unsigned i, k;
        void *f = full[goroutine_current() != NULL && turn % 2 != 0][turn / 2 % 2];
        memset(&out, 0, sizeof out);
        for (i = 0; i < 16; i++) {
            in.general[i] = random_next(&random);
            for (k = 0; k < 32; k++) in.vectors[i][k] = (uint8_t)random_next(&random);
        }
        in.flags = 0x202 | (random_next(&random) & 0xCD5); /* carry parity adjust zero sign direction overflow */
        ((void (*)(const Image *, Image *))(uintptr_t)f)(&in, &out);
        for (i = 0; i < 16; i++) {
            if (i == RSP) continue;
            if (out.general[i] != in.general[i]) fprintf(stderr, "register %u\n", i);
            CHECK_EQ(out.general[i], in.general[i]);
            if (memcmp(out.vectors[i], in.vectors[i], has_avx ? 32 : 16) != 0) fprintf(stderr, "vector register %u\n", i);
            CHECK(memcmp(out.vectors[i], in.vectors[i], has_avx ? 32 : 16) == 0);
        }
        CHECK_EQ(out.flags & 0xCD5, in.flags & 0xCD5);
    }
    CHECK(goroutine_current() == NULL ||
          *(void **)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_CONTEXT) == NULL);
    return arg;
}

int main(void) {
    Emit e = emit_begin(4096);
    pthread_t thread;
    uint32_t workers;
    uint64_t i;
    EMIT(&e, "\x64\x48\x8B\x04\x25"); /* mov rax, fs:[offset]; ret */
    emit_u32(&e, (uint32_t)goroutine_tls_offset());
    emit_return(&e);
    read_tls = (void *(*)(void))(uintptr_t)emit_end(&e);
    __builtin_cpu_init();
    has_avx = __builtin_cpu_supports("avx") != 0;
    for (i = 0; i < 4; i++) full[i / 2][i % 2] = emit_full(has_avx, i / 2 != 0, i % 2 != 0 ? 8 : 0);

    on_plain_thread(); /* before the start */
    CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
    pthread_join(thread, NULL);
    keeps_all(P(1));
    for (workers = 1; workers <= 4; workers *= 2) {
        SET(answers, 0);
        start_workers(workers);
        on_plain_thread();
        for (i = 0; i < 200; i++) OK(goroutine_go(in_goroutine, NULL));
        for (i = 0; i < 16; i++) OK(goroutine_go(keeps_all, P(i)));
        run_goroutine(in_commit, NULL);
        OK(goroutine_runtime_wait(60 * SECOND));
        CHECK_EQ(GET(answers), 200);
        keeps_all(P(2));
        CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
        pthread_join(thread, NULL);
        stop();
        on_plain_thread();
    }
    return 0;
}
