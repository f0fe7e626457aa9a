/* Go from Node.js: a Node-API addon over libgoroutine. Every call of it may come from the main thread or from a worker's.
 *
 * Node.js closes a worker's addons when the worker ends. libgoroutine stays then, while its threads run; the addon must see to itself,
 * for `done` runs on those threads: link it with -Wl,-z,nodelete. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <dlfcn.h>
#include <goroutine.h>
#include <node_api.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* One per instance of the addon: the main thread has one, and each worker. Calls under way may outlive the loop, so it is never freed. */
typedef struct Instance {
    napi_threadsafe_function post;
    uint64_t pending; /* the loop's own */
    /* Node.js frees a thread-safe function when its loop ends, whoever still holds it: nobody may be inside one then. */
    pthread_mutex_t lock;
    bool closed;
} Instance;

/* A promise in JavaScript that a call on a thread of libgoroutine settles. */
typedef struct Call {
    Instance *instance;
    napi_deferred deferred;
    void *result;
} Call;

static napi_value fail(napi_env env, const char *what) {
    napi_throw_error(env, NULL, what);
    return NULL;
}
static napi_value failed(napi_env env, GoroutineStatus status) {
    char text[1024];
    const char *said = status == GOROUTINE_EFFILOAD ? goroutine_ffi_error() : NULL;
    snprintf(text, sizeof text, "%s %s", goroutine_status_name(status), said != NULL ? said : "");
    return fail(env, text);
}

static bool arguments(napi_env env, napi_callback_info info, size_t n, napi_value *values) {
    size_t given = n;
    return napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given == n;
}
static void *pointer_of(napi_env env, napi_value value) {
    uint64_t number = 0;
    bool lossless;
    napi_get_value_bigint_uint64(env, value, &number, &lossless);
    return (void *)(uintptr_t)number;
}
static napi_value value_of(napi_env env, const void *pointer) {
    napi_value value = NULL;
    napi_create_bigint_uint64(env, (uint64_t)(uintptr_t)pointer, &value);
    return value;
}
static const char *text_of(napi_env env, napi_value value, char *buffer, size_t bytes) {
    return napi_get_value_string_utf8(env, value, buffer, bytes, NULL) == napi_ok ? buffer : "";
}

/* address(BigInt64Array): where its elements are. The caller keeps it alive. */
static napi_value address(napi_env env, napi_callback_info info) {
    napi_value array;
    void *data = NULL;
    if (!arguments(env, info, 1, &array)) return fail(env, "address(array)");
    napi_get_typedarray_info(env, array, NULL, NULL, &data, NULL, NULL);
    return value_of(env, data);
}

/* ---- What everybody does: load and call on the host's own thread. ---- */

static napi_value direct_open(napi_env env, napi_callback_info info) {
    char path[4096];
    napi_value argument;
    void *handle;
    if (!arguments(env, info, 1, &argument)) return fail(env, "dlopen(path)");
    handle = dlopen(text_of(env, argument, path, sizeof path), RTLD_NOW);
    return handle != NULL ? value_of(env, handle) : fail(env, dlerror());
}
static napi_value direct_symbol(napi_env env, napi_callback_info info) {
    char name[256];
    napi_value values[2];
    if (!arguments(env, info, 2, values)) return fail(env, "dlsym(handle, name)");
    return value_of(env, dlsym(pointer_of(env, values[0]), text_of(env, values[1], name, sizeof name)));
}
static napi_value direct_call(napi_env env, napi_callback_info info) {
    napi_value values[2];
    void *(*function)(void *);
    if (!arguments(env, info, 2, values)) return fail(env, "call(function, argument)");
    function = (void *(*)(void *))pointer_of(env, values[0]);
    return value_of(env, function(pointer_of(env, values[1])));
}

/* ---- Through libgoroutine. ---- */

static napi_value load(napi_env env, napi_callback_info info) {
    char path[4096];
    napi_value argument;
    void *handle = NULL;
    GoroutineStatus status;
    if (!arguments(env, info, 1, &argument)) return fail(env, "load(path)");
    status = goroutine_ffi_load(text_of(env, argument, path, sizeof path), 0, &handle);
    return status == GOROUTINE_OK ? value_of(env, handle) : failed(env, status);
}
static napi_value symbol(napi_env env, napi_callback_info info) {
    char name[256];
    napi_value values[2];
    void *found = NULL;
    GoroutineStatus status;
    if (!arguments(env, info, 2, values)) return fail(env, "symbol(handle, name)");
    status = goroutine_ffi_symbol(pointer_of(env, values[0]), text_of(env, values[1], name, sizeof name), &found);
    return status == GOROUTINE_OK ? value_of(env, found) : failed(env, status);
}

/* On one thread for all calls of the process, in turn; the host's thread waits. */
static GoroutineFfiLane *lane;
static GoroutineStatus lane_status;
static void make_lane(void) { lane_status = goroutine_ffi_lane_new("host", &lane); }

static napi_value call_lane(napi_env env, napi_callback_info info) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    napi_value values[2];
    void *result = NULL;
    GoroutineStatus status;
    if (!arguments(env, info, 2, values)) return fail(env, "callLane(function, argument)");
    pthread_once(&once, make_lane);
    status = lane_status;
    if (status == GOROUTINE_OK)
        status = goroutine_ffi_lane_call(lane, pointer_of(env, values[0]), pointer_of(env, values[1]), &result);
    return status == GOROUTINE_OK ? value_of(env, result) : failed(env, status);
}

/* In a goroutine that the call binds to a thread; the host's thread waits. */
static void *bound(void *arg) {
    void **call = (void **)arg;
    return execute_ffi_call(NULL, call[0], call[1]);
}
static napi_value call_bound(napi_env env, napi_callback_info info) {
    napi_value values[2];
    void *call[2], *result = NULL;
    GoroutinePromise *promise;
    GoroutineStatus status;
    if (!arguments(env, info, 2, values)) return fail(env, "callBound(function, argument)");
    call[0] = pointer_of(env, values[0]);
    call[1] = pointer_of(env, values[1]);
    promise = goroutine_spawn(bound, call);
    if (promise == NULL) return failed(env, GOROUTINE_ENOMEM);
    status = goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &result);
    return status == GOROUTINE_OK ? value_of(env, result) : failed(env, status);
}

/* On a thread of the pool; the host goes on, and its loop settles a promise when the call is done. */
static void done(void *arg, void *result) {
    Call *call = (Call *)arg;
    Instance *instance = call->instance;
    bool posted = false;
    call->result = result;
    pthread_mutex_lock(&instance->lock);
    if (!instance->closed) posted = napi_call_threadsafe_function(instance->post, call, napi_tsfn_nonblocking) == napi_ok;
    pthread_mutex_unlock(&instance->lock);
    if (!posted) free(call); /* with the loop, everybody who could have waited is gone */
}
static void close_instance(void *arg) {
    Instance *instance = (Instance *)arg;
    pthread_mutex_lock(&instance->lock);
    instance->closed = true;
    pthread_mutex_unlock(&instance->lock);
}
static void settle(napi_env env, napi_value unused, void *context, void *data) {
    Call *call = (Call *)data;
    Instance *instance = call->instance;
    (void)unused, (void)context;
    if (env != NULL) {
        napi_resolve_deferred(env, call->deferred, value_of(env, call->result));
        if (--instance->pending == 0) napi_unref_threadsafe_function(env, instance->post);
    }
    free(call);
}
static napi_value call_async(napi_env env, napi_callback_info info) {
    napi_value values[2], promise = NULL;
    Instance *instance = NULL;
    Call *call;
    GoroutineStatus status;
    if (!arguments(env, info, 2, values)) return fail(env, "callAsync(function, argument)");
    napi_get_instance_data(env, (void **)&instance);
    call = (Call *)calloc(1, sizeof *call);
    if (call == NULL) return failed(env, GOROUTINE_ENOMEM);
    call->instance = instance;
    napi_create_promise(env, &call->deferred, &promise);
    if (instance->pending++ == 0) napi_ref_threadsafe_function(env, instance->post); /* the loop lives */
    status = goroutine_ffi_call_async(pointer_of(env, values[0]), pointer_of(env, values[1]), done, call);
    if (status != GOROUTINE_OK) {
        if (--instance->pending == 0) napi_unref_threadsafe_function(env, instance->post);
        free(call);
        return failed(env, status);
    }
    return promise;
}

NAPI_MODULE_INIT() {
    static const napi_property_descriptor functions[] = {
        {"address", NULL, address, NULL, NULL, NULL, napi_default, NULL},
        {"dlopen", NULL, direct_open, NULL, NULL, NULL, napi_default, NULL},
        {"dlsym", NULL, direct_symbol, NULL, NULL, NULL, napi_default, NULL},
        {"call", NULL, direct_call, NULL, NULL, NULL, napi_default, NULL},
        {"load", NULL, load, NULL, NULL, NULL, napi_default, NULL},
        {"symbol", NULL, symbol, NULL, NULL, NULL, napi_default, NULL},
        {"callLane", NULL, call_lane, NULL, NULL, NULL, napi_default, NULL},
        {"callBound", NULL, call_bound, NULL, NULL, NULL, napi_default, NULL},
        {"callAsync", NULL, call_async, NULL, NULL, NULL, napi_default, NULL},
    };
    napi_value name;
    Instance *instance = (Instance *)calloc(1, sizeof *instance);
    if (instance == NULL) return NULL;
    napi_create_string_utf8(env, "libgoroutine", NAPI_AUTO_LENGTH, &name);
    if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, settle, &instance->post) != napi_ok)
        return NULL;
    napi_unref_threadsafe_function(env, instance->post);
    pthread_mutex_init(&instance->lock, NULL);
    napi_add_env_cleanup_hook(env, close_instance, instance); /* runs before those that were added before it */
    napi_set_instance_data(env, instance, NULL, NULL);
    napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions);
    return exports;
}
