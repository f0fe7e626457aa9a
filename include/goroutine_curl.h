/* libgoroutine for libcurl: transfers that park their goroutine. Header only, over goroutine.h and libcurl 7.62 or newer.
 *
 * A program
 *
 *     #include <goroutine_curl.h>
 *
 *     static void *fetch(void *url) {
 *         CURL *easy = curl_easy_init();
 *         CURLcode code;
 *         curl_easy_setopt(easy, CURLOPT_URL, (const char *)url);
 *         curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 5000L);
 *         code = goroutine_curl_perform(easy);     // other goroutines run meanwhile
 *         curl_easy_cleanup(easy);
 *         return (void *)(intptr_t)code;
 *     }
 *
 * How
 *   Each transfer is driven through a multi handle of its own, by libcurl's multi-socket interface: libcurl says which sockets and which
 *   time it waits for, and the goroutine waits for them. So transfers share nothing while they run, and run on all workers. Multi handles
 *   that are free are kept, with their connections, TLS sessions and names, for whichever transfer comes next.
 *
 * Stacks
 *   All of libcurl runs as blocking foreign calls, on the native stack of the thread: its resolver, TLS, certificates and your callbacks
 *   need no stack of the goroutine's, and if they take long (a resolver that blocks, a disk), the worker goes on elsewhere. A
 *   callback that wants to park does so in goroutine_callback_run.
 *
 * Descriptors
 *   A transfer has its sockets, two more of its multi handle's, and while it waits for several at a time (two addresses are tried) one more;
 *   a name that is being resolved takes two: see RLIMIT_NOFILE before starting a thousand.
 *
 * Not in a child of fork: the connections are its parent's.
 */
#ifndef GOROUTINE_CURL_H
#define GOROUTINE_CURL_H

#include <curl/curl.h>
#include <goroutine.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/** How many multi handles with their connections are kept for later transfers. */
#ifndef GOROUTINE_CURL_IDLE_MAX
#define GOROUTINE_CURL_IDLE_MAX 100
#endif

/** While nothing happens the progress callback is called this often, as by curl_easy_perform: so it can end a transfer. */
#ifndef GOROUTINE_CURL_BEAT_NS
#define GOROUTINE_CURL_BEAT_NS UINT64_C(1000000000)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What the rest of this header is made of: not to be used. ---- */

#ifdef CLOCK_MONOTONIC
#define GOROUTINE_CURL_CLOCK CLOCK_MONOTONIC
#else /* strict C11 hides it, without taking it out of the library */
#define GOROUTINE_CURL_CLOCK 1
int clock_gettime(int clock, struct timespec *time);
#endif

/** A socket that libcurl waits for. */
typedef struct GoroutineCurlSocket {
    curl_socket_t fd;
    uint32_t events; /* poll's */
} GoroutineCurlSocket;

/** A multi handle, and what it waits for. One transfer has it, or the shared list. */
typedef struct GoroutineCurlLoop {
    CURLM *multi;
    struct GoroutineCurlLoop *next; /* in the list */
    GoroutineCurlSocket *sockets;
    size_t count, room;
    uint64_t deadline; /* when it wants to be called anyway */
    int epoll;         /* of all sockets, once there were two at a time; or -1 */
    bool failed;       /* out of memory or descriptors in a callback */
} GoroutineCurlLoop;

/** A transfer of goroutine_curl_async. */
typedef struct GoroutineCurlRequest {
    CURL *easy;
    int64_t id;
    GoroutinePromise *promise; /* its goroutine */
    struct GoroutineCurlRequest *next, *previous;
} GoroutineCurlRequest;

/** What the whole process has: one, in however many files this header is included. Its lock is held for a few instructions. */
typedef struct GoroutineCurlShared {
    pthread_mutex_t lock;
    GoroutineCurlLoop *idle; /* the one used last is first: its connections are the likeliest to be alive */
    size_t idle_count;
    GoroutineCurlRequest *requests;
} GoroutineCurlShared;

__attribute__((weak)) GoroutineCurlShared goroutine_curl_shared = {PTHREAD_MUTEX_INITIALIZER, NULL, 0, NULL};

/** A transfer under way: on its goroutine's stack, which stays where it is. */
typedef struct GoroutineCurlCall {
    CURL *easy;
    GoroutineCurlLoop *loop;
    GoroutineCurlSocket ready[8]; /* `events` are libcurl's here */
    size_t ready_count;           /* 0: it is the time */
    bool added, done;
    CURLcode code;
} GoroutineCurlCall;

static inline uint64_t goroutine_curl_now(void) {
    struct timespec t;
    clock_gettime(GOROUTINE_CURL_CLOCK, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline void goroutine_curl_native(void *(*function)(void *), void *arg) {
    goroutine_ffi_call_blocking((void *)(uintptr_t)function, arg);
}

/* The loop's epoll knows one socket as its table does. */
static inline bool goroutine_curl_epoll_sync(GoroutineCurlLoop *loop, curl_socket_t fd, uint32_t events) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events; /* EPOLLIN is POLLIN, EPOLLOUT is POLLOUT */
    event.data.fd = fd;
    if (events == 0) {
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, &event); /* it may be closed, and gone by that */
        return true;
    }
    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) == 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static inline GoroutineCurlSocket *goroutine_curl_find(const GoroutineCurlLoop *loop, curl_socket_t fd) {
    size_t i;
    for (i = 0; i < loop->count; i++) {
        if (loop->sockets[i].fd == fd) return &loop->sockets[i];
    }
    return NULL;
}

/* CURLMOPT_SOCKETFUNCTION */
static inline int goroutine_curl_on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused) {
    GoroutineCurlLoop *loop = (GoroutineCurlLoop *)arg;
    GoroutineCurlSocket *one = goroutine_curl_find(loop, fd);
    uint32_t events = 0;
    (void)easy;
    (void)unused;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= POLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= POLLOUT;
    if (events == 0) {
        if (one != NULL) *one = loop->sockets[--loop->count];
    } else {
        if (one == NULL && loop->count == loop->room) {
            size_t room = loop->room == 0 ? 4 : 2 * loop->room;
            void *more = realloc(loop->sockets, room * sizeof *loop->sockets);
            if (more == NULL) {
                loop->failed = true;
                return 0;
            }
            loop->sockets = (GoroutineCurlSocket *)more;
            loop->room = room;
        }
        if (one == NULL) one = &loop->sockets[loop->count++];
        one->fd = fd;
        one->events = events;
    }
    if (loop->epoll >= 0 && !goroutine_curl_epoll_sync(loop, fd, events)) loop->failed = true;
    return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static inline int goroutine_curl_on_timer(CURLM *multi, long timeout_ms, void *arg) {
    (void)multi;
    ((GoroutineCurlLoop *)arg)->deadline =
        timeout_ms < 0 ? GOROUTINE_FOREVER : goroutine_curl_now() + (uint64_t)timeout_ms * UINT64_C(1000000);
    return 0;
}

/* A foreign call: frees a list of loops. */
static inline void *goroutine_curl_free_loops(void *arg) {
    GoroutineCurlLoop *loop = (GoroutineCurlLoop *)arg, *next;
    for (; loop != NULL; loop = next) {
        next = loop->next;
        if (loop->multi != NULL) curl_multi_cleanup(loop->multi); /* tells its callback of each socket */
        if (loop->epoll >= 0) close(loop->epoll);
        free(loop->sockets);
        free(loop);
    }
    return NULL;
}

static inline GoroutineCurlLoop *goroutine_curl_new_loop(void) {
    GoroutineCurlLoop *loop = (GoroutineCurlLoop *)calloc(1, sizeof *loop);
    if (loop == NULL) return NULL;
    loop->epoll = -1;
    loop->deadline = GOROUTINE_FOREVER;
    loop->multi = curl_multi_init();
    if (loop->multi == NULL || curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, goroutine_curl_on_socket) != CURLM_OK ||
        curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop) != CURLM_OK ||
        curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, goroutine_curl_on_timer) != CURLM_OK ||
        curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop) != CURLM_OK) {
        goroutine_curl_free_loops(loop);
        return NULL;
    }
    return loop;
}

static inline GoroutineCurlLoop *goroutine_curl_take(void) {
    GoroutineCurlShared *shared = &goroutine_curl_shared;
    GoroutineCurlLoop *loop;
    pthread_mutex_lock(&shared->lock);
    loop = shared->idle;
    if (loop != NULL) {
        shared->idle = loop->next;
        shared->idle_count--;
        loop->next = NULL;
    }
    pthread_mutex_unlock(&shared->lock);
    return loop;
}

/* Gives it to the list; false: that is full. */
static inline bool goroutine_curl_give(GoroutineCurlLoop *loop) {
    GoroutineCurlShared *shared = &goroutine_curl_shared;
    bool fits;
    pthread_mutex_lock(&shared->lock);
    fits = shared->idle_count < GOROUTINE_CURL_IDLE_MAX;
    if (fits) {
        loop->next = shared->idle;
        shared->idle = loop;
        shared->idle_count++;
    }
    pthread_mutex_unlock(&shared->lock);
    return fits;
}

static inline CURLcode goroutine_curl_code_of(CURLMcode code) {
    return code == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY
           : code == CURLM_BAD_EASY_HANDLE ? CURLE_BAD_FUNCTION_ARGUMENT
                                           : CURLE_FAILED_INIT;
}

/* Tells libcurl what is ready, and looks whether it is done. */
static inline void goroutine_curl_act(GoroutineCurlCall *call) {
    CURLM *multi = call->loop->multi;
    CURLMcode code = CURLM_OK;
    CURLMsg *message;
    int running = 0, left = 0;
    size_t i;
    if (call->ready_count == 0) {
        call->loop->deadline = GOROUTINE_FOREVER; /* it has come: libcurl says so if it wants another one, and nothing if not */
        code = curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (i = 0; i < call->ready_count && code == CURLM_OK; i++) {
        /* One that an action before this has closed is not touched: its number may be another file's. */
        if (goroutine_curl_find(call->loop, call->ready[i].fd) == NULL) continue;
        code = curl_multi_socket_action(multi, call->ready[i].fd, (int)call->ready[i].events, &running);
    }
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) continue;
        call->done = true;
        call->code = message->data.result;
    }
    if (call->done) return;
    if (code != CURLM_OK || call->loop->failed) {
        call->done = true;
        call->code = code != CURLM_OK ? goroutine_curl_code_of(code) : CURLE_OUT_OF_MEMORY;
    }
}

/* The three foreign calls of a transfer. */
static inline void *goroutine_curl_begin(void *arg) {
    GoroutineCurlCall *call = (GoroutineCurlCall *)arg;
    CURLMcode code;
    if (call->loop == NULL) call->loop = goroutine_curl_new_loop();
    if (call->loop == NULL) {
        call->done = true;
        call->code = CURLE_OUT_OF_MEMORY;
        return NULL;
    }
    curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L); /* else it would change SIGPIPE's and SIGALRM's actions, which are the process's */
    code = curl_multi_add_handle(call->loop->multi, call->easy);
    call->added = code == CURLM_OK;
    if (call->added) {
        goroutine_curl_act(call);
    } else {
        call->done = true;
        call->code = goroutine_curl_code_of(code);
    }
    return NULL;
}
static inline void *goroutine_curl_step(void *arg) {
    goroutine_curl_act((GoroutineCurlCall *)arg);
    return NULL;
}
static inline void *goroutine_curl_end(void *arg) {
    GoroutineCurlCall *call = (GoroutineCurlCall *)arg;
    bool failed;
    if (call->loop == NULL) return NULL;
    if (call->added) curl_multi_remove_handle(call->loop->multi, call->easy); /* ends it, if need be; waits for its resolver's thread */
    failed = call->loop->failed; /* its table is not to be trusted */
    if (failed || !goroutine_curl_give(call->loop)) goroutine_curl_free_loops(call->loop);
    return NULL;
}

/* poll's events as libcurl's. An error or a hang-up is found by reading or writing. */
static inline void goroutine_curl_add_ready(GoroutineCurlCall *call, GoroutineCurlSocket one, uint32_t ready) {
    uint32_t bits = 0;
    if (ready & (POLLERR | POLLHUP)) ready |= one.events;
    if (ready & POLLIN) bits |= CURL_CSELECT_IN;
    if (ready & POLLOUT) bits |= CURL_CSELECT_OUT;
    one.events = bits;
    call->ready[call->ready_count++] = one;
}

/* Parks until one of several sockets is ready. */
static inline GoroutineStatus goroutine_curl_wait_many(GoroutineCurlCall *call, uint64_t timeout_ns) {
    enum { MOST = sizeof call->ready / sizeof call->ready[0] };
    GoroutineCurlLoop *loop = call->loop;
    struct epoll_event events[MOST];
    GoroutineStatus status;
    uint32_t ready = 0;
    size_t i;
    int n;
    if (loop->epoll < 0) {
        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll < 0) return GOROUTINE_ENOMEM;
        for (i = 0; i < loop->count; i++) {
            if (!goroutine_curl_epoll_sync(loop, loop->sockets[i].fd, loop->sockets[i].events)) return GOROUTINE_ENOMEM;
        }
    }
    status = goroutine_fd_wait(loop->epoll, POLLIN, timeout_ns, &ready);
    if (status != GOROUTINE_OK) return status;
    n = epoll_wait(loop->epoll, events, MOST, 0);
    for (i = 0; n > 0 && i < (size_t)n; i++) {
        const GoroutineCurlSocket *one = goroutine_curl_find(loop, events[i].data.fd);
        if (one != NULL) goroutine_curl_add_ready(call, *one, events[i].events);
    }
    return GOROUTINE_OK;
}

/* Parks until libcurl has something to do: `ready` says what. */
static inline GoroutineStatus goroutine_curl_wait(GoroutineCurlCall *call) {
    const GoroutineCurlLoop *loop = call->loop;
    uint64_t now = goroutine_curl_now(), timeout_ns = GOROUTINE_CURL_BEAT_NS;
    GoroutineStatus status;
    uint32_t ready = 0;
    bool is_beat = true;
    call->ready_count = 0;
    if (loop->deadline <= now) return GOROUTINE_OK;
    if (loop->deadline - now <= timeout_ns) {
        timeout_ns = loop->deadline - now;
        is_beat = false;
    }
    if (loop->count == 0) return goroutine_sleep(timeout_ns);
    if (loop->count == 1) {
        GoroutineCurlSocket one = loop->sockets[0];
        status = goroutine_fd_wait(one.fd, one.events, timeout_ns, &ready);
        if (status == GOROUTINE_OK) goroutine_curl_add_ready(call, one, ready);
    } else {
        status = goroutine_curl_wait_many(call, timeout_ns);
    }
    if (status != GOROUTINE_ETIMEDOUT) return status;
    if (is_beat) { /* no timer of libcurl's is due: a socket "without events" makes it look, and report progress */
        call->ready[0] = loop->sockets[0];
        call->ready[0].events = 0;
        call->ready_count = 1;
    }
    return GOROUTINE_OK;
}

static inline CURLcode goroutine_curl_code_of_status(GoroutineStatus status) {
    switch (status) {
    case GOROUTINE_ENOMEM: return CURLE_OUT_OF_MEMORY;
    case GOROUTINE_EBADF: return CURLE_RECV_ERROR; /* somebody else closed its socket */
    default: return CURLE_ABORTED_BY_CALLBACK;     /* GOROUTINE_ECANCELED, GOROUTINE_ESHUTDOWN */
    }
}

/* ---- Transfers. ---- */

/**
 * Performs a transfer as curl_easy_perform does, with the options, callbacks and results of that: curl_easy_getinfo and the error
 * buffer tell about it afterwards. Its time-outs are libcurl's: CURLOPT_TIMEOUT_MS, CURLOPT_CONNECTTIMEOUT_MS; without them it may wait for
 * ever. It sets CURLOPT_NOSIGNAL. Connections are kept for later transfers of the process, also of other handles, where libcurl finds
 * that they fit.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Stack:     1 KiB of the goroutine's; libcurl and the callbacks run on the thread's native stack.
 * Ownership: borrows `easy` until it returns: no other transfer has it, and nobody else touches it.
 * Returns:   what curl_easy_perform would; CURLE_ABORTED_BY_CALLBACK also when the goroutine was cancelled, CURLE_BAD_FUNCTION_ARGUMENT
 *            for NULL, CURLE_FAILED_INIT for a handle that is in use.
 * Since:     ABI 1.
 */
static inline CURLcode goroutine_curl_perform(CURL *easy) {
    GoroutineCurlCall call;
    GoroutineStatus status;
    if (easy == NULL) return CURLE_BAD_FUNCTION_ARGUMENT;
    memset(&call, 0, sizeof call);
    call.easy = easy;
    call.loop = goroutine_curl_take();
    goroutine_curl_native(goroutine_curl_begin, &call);
    while (!call.done) {
        status = goroutine_curl_wait(&call);
        if (status != GOROUTINE_OK) {
            call.code = goroutine_curl_code_of_status(status);
            break;
        }
        goroutine_curl_native(goroutine_curl_step, &call);
    }
    goroutine_curl_native(goroutine_curl_end, &call);
    return call.code;
}

/* The goroutine of goroutine_curl_async. */
static inline void *goroutine_curl_run_request(void *arg) {
    GoroutineCurlRequest *request = (GoroutineCurlRequest *)arg;
    CURLcode code = goroutine_curl_perform(request->easy);
    pthread_mutex_lock(&goroutine_curl_shared.lock);
    if (request->next != NULL) request->next->previous = request->previous;
    if (request->previous != NULL) request->previous->next = request->next;
    else goroutine_curl_shared.requests = request->next;
    pthread_mutex_unlock(&goroutine_curl_shared.lock);
    goroutine_promise_release(request->promise);
    goroutine_async_complete(request->id, (void *)(intptr_t)code);
    free(request);
    return NULL;
}

/**
 * Begins a transfer and does not wait for it: an async operation of type GOROUTINE_ASYNC_HTTP_REQUEST, which goroutine_async_await waits
 * for, and which keeps the program alive until then. Its result is the CURLcode, as a pointer: (CURLcode)(intptr_t)result. Once it is
 * complete, `easy` is free. End it early with goroutine_curl_async_cancel, never with goroutine_async_cancel: that would say that it is
 * over while it goes on.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `easy` until the operation is complete.
 * Returns:   an id, as goroutine_async_begin; GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 */
static inline int64_t goroutine_curl_async(CURL *easy) {
    GoroutineCurlRequest *request;
    GoroutineSpawn spawn;
    GoroutineStatus status;
    int64_t id;
    if (easy == NULL) return GOROUTINE_EINVAL;
    request = (GoroutineCurlRequest *)calloc(1, sizeof *request);
    if (request == NULL) return GOROUTINE_ENOMEM;
    id = goroutine_async_begin(GOROUTINE_ASYNC_HTTP_REQUEST, easy);
    if (id < 0) {
        free(request);
        return id;
    }
    request->easy = easy;
    request->id = id;
    goroutine_spawn_init(&spawn);
    spawn.fn = (void *)(uintptr_t)goroutine_curl_run_request;
    spawn.int_args[0] = (uint64_t)(uintptr_t)request;
    spawn.name = "goroutine_curl_async";
    pthread_mutex_lock(&goroutine_curl_shared.lock); /* it is in the list before its goroutine leaves it */
    status = goroutine_spawn_with(&spawn, &request->promise);
    if (status == GOROUTINE_OK) {
        request->next = goroutine_curl_shared.requests;
        if (request->next != NULL) request->next->previous = request;
        goroutine_curl_shared.requests = request;
    }
    pthread_mutex_unlock(&goroutine_curl_shared.lock);
    if (status != GOROUTINE_OK) {
        goroutine_async_cancel(id);
        free(request);
        return status;
    }
    return id;
}

/**
 * Asks a transfer of goroutine_curl_async to stop. It is complete, with CURLE_ABORTED_BY_CALLBACK, as soon as `easy` is free.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it is over, or no such transfer).
 * Since:     ABI 1.
 */
static inline GoroutineStatus goroutine_curl_async_cancel(int64_t id) {
    GoroutineStatus status = GOROUTINE_EALREADY;
    GoroutineCurlRequest *request;
    pthread_mutex_lock(&goroutine_curl_shared.lock);
    for (request = goroutine_curl_shared.requests; request != NULL; request = request->next) {
        if (request->id != id) continue;
        status = goroutine_cancel(request->promise);
        break;
    }
    pthread_mutex_unlock(&goroutine_curl_shared.lock);
    return status;
}

/**
 * Frees what is kept for later transfers, and closes their connections. Those under way are left alone.
 * Context:   T, G.
 * Parks:     after it, until there is a worker for the goroutine. It may resume on another thread.
 * Since:     ABI 1.
 */
static inline void goroutine_curl_cleanup(void) {
    GoroutineCurlLoop *all;
    pthread_mutex_lock(&goroutine_curl_shared.lock);
    all = goroutine_curl_shared.idle;
    goroutine_curl_shared.idle = NULL;
    goroutine_curl_shared.idle_count = 0;
    pthread_mutex_unlock(&goroutine_curl_shared.lock);
    goroutine_curl_native(goroutine_curl_free_loops, all);
}

#ifdef __cplusplus
}
#endif

#endif
