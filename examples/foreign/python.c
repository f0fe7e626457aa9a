/* CPython inside: a thread state per bound goroutine, the GIL handed from thread to thread, Python code that calls back into goroutines,
 * and threads that Python made itself. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
/* Python's own settings of these macros come first. */
#include "foreign.h"

enum { GOROUTINES = 8 };

/* ---- What Python code calls: language.add(n), which sleeps in the goroutine without the GIL ---- */

static void *add_slowly(void *arg) {
    OK(goroutine_sleep(200000));
    return P(U(arg) + 1);
}
static PyObject *language_add(PyObject *self, PyObject *argument) {
    long n = PyLong_AsLong(argument);
    void *result;
    (void)self;
    if (n == -1 && PyErr_Occurred()) return NULL;
    /* Who parks must not hold the GIL: others would wait for a goroutine that waits for them. */
    Py_BEGIN_ALLOW_THREADS
    result = goroutine_callback_run(add_slowly, P(n));
    Py_END_ALLOW_THREADS
    return PyLong_FromLong((long)U(result));
}
static PyMethodDef functions[] = {{"add", language_add, METH_O, "adds one, slowly"}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "language", NULL, -1, functions, NULL, NULL, NULL, NULL};
static PyObject *make_module(void) { return PyModule_Create(&definition); }

/* ---- What goroutines call ---- */

static const char script[] = "import language, math, json, threading\n"
                             "local = threading.local()\n"
                             "def work(n):\n"
                             "    local.n = n\n"
                             "    total = 0\n"
                             "    for i in range(200):\n"
                             "        total += math.isqrt(i * n)\n"
                             "        if i % 50 == 0:\n"
                             "            total += language.add(i) - i - 1\n"
                             "        assert local.n == n, 'the state of another thread'\n"
                             "    assert json.loads(json.dumps({'n': [n, total]}))['n'] == [n, total]\n"
                             "    return total\n"
                             "def with_thread(n):\n"
                             "    results = []\n"
                             "    t = threading.Thread(target=lambda: results.append(work(n) + language.add(n)))\n"
                             "    t.start()\n"
                             "    t.join(60)\n"
                             "    return results[0] - n - 1\n"
                             "def fails(n):\n"
                             "    return {}[n]\n";

typedef struct Call {
    const char *name;
    long argument, result;
    PyObject *failed;
} Call;

static void *call_python(void *arg) {
    Call *call = (Call *)arg;
    PyGILState_STATE state;
    PyObject *module, *result;
    CHECK(!PyGILState_Check()); /* who called before us on this thread left nothing */
    state = PyGILState_Ensure();
    module = PyImport_AddModule("__main__");
    result = PyObject_CallMethod(module, call->name, "l", call->argument);
    call->failed = NULL;
    if (result == NULL) {
        call->failed = PyErr_Occurred();
        PyErr_Clear();
    } else {
        call->result = PyLong_AsLong(result);
        Py_DECREF(result);
    }
    PyGILState_Release(state);
    return NULL;
}
static long expected(long n) {
    long total = 0, i, root;
    for (i = 0; i < 200; i++) {
        for (root = 0; (root + 1) * (root + 1) <= i * n; root++) {
        }
        total += root;
    }
    return total;
}

/* A thread state that stays over several calls, as an embedder keeps one: it belongs to the thread that made it. */
static void *attach(void *arg) {
    (void)arg;
    return (void *)PyThreadState_New(PyInterpreterState_Main());
}
typedef struct Kept {
    PyThreadState *state;
    uint64_t calls;
} Kept;
static void *call_with_state(void *arg) {
    Kept *kept = (Kept *)arg;
    PyObject *number;
    PyEval_RestoreThread(kept->state);
    number = PyLong_FromUnsignedLongLong(kept->calls++);
    CHECK(PyThreadState_Get() == kept->state);
    CHECK(PyGILState_GetThisThreadState() == kept->state); /* Python's own note of the thread's */
    CHECK_EQ(PyLong_AsUnsignedLongLong(number), kept->calls - 1);
    Py_DECREF(number);
    kept->state = PyEval_SaveThread();
    return NULL;
}
static void *detach(void *arg) {
    PyEval_RestoreThread((PyThreadState *)arg);
    PyThreadState_Clear((PyThreadState *)arg);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void *goroutine(void *arg) {
    Goroutine *g = goroutine_current();
    Call call;
    Kept kept;
    int i;
    for (i = 0; i < 5; i++) {
        call.name = i % 2 == 0 ? "work" : "with_thread";
        call.argument = (long)U(arg) + i;
        execute_ffi_call(g, CODE(call_python), &call);
        CHECK(call.failed == NULL);
        CHECK_EQ(call.result, expected(call.argument));
        goroutine_yield();
    }
    call.name = "fails";
    execute_ffi_call(g, CODE(call_python), &call);
    CHECK(call.failed == PyExc_KeyError);

    kept.calls = 0;
    kept.state = (PyThreadState *)execute_ffi_call(g, CODE(attach), NULL);
    CHECK(kept.state != NULL);
    for (i = 0; i < 100; i++) {
        execute_ffi_call(g, CODE(call_with_state), &kept);
        if (i % 10 == 0) OK(goroutine_sleep(100000));
    }
    execute_ffi_call(g, CODE(detach), kept.state);
    return NULL;
}

static void round_of_all(void) { spawn_all(GOROUTINES, goroutine); }

int main(int argc, char **argv) {
    PyThreadState *main_state;
    CHECK(PyImport_AppendInittab("language", make_module) == 0);
    Py_InitializeEx(0); /* no signal handlers of Python's */
    CHECK_EQ(PyRun_SimpleString(script), 0);
    main_state = PyEval_SaveThread();
    run_rounds(argc, argv, round_of_all, 8 << 20);
    OK(goroutine_runtime_wait(10 * SECOND));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    PyEval_RestoreThread(main_state);
    CHECK_EQ(Py_FinalizeEx(), 0);
    return 0;
}
