/* SQLite with one connection per bound goroutine, in its multi-thread mode: no mutex of SQLite's guards a connection, so each must stay
 * with one thread at a time. All connections write to one database; a busy handler written in the language sleeps meanwhile. */
#include "foreign.h"
#include <sqlite3.h>

enum { CONNECTIONS = 8, ROWS = 200 };
static char path[4096];
static uint64_t waited;

typedef struct Job {
    sqlite3 *db;
    const char *sql;
    int64_t value;
    int status;
    pthread_t thread; /* that opened it */
} Job;

/* SQLite waits for a lock: the goroutine sleeps, in a callback inside the foreign call. */
static void *sleep_a_little(void *arg) {
    ADD(waited, 1);
    goroutine_sleep(50000 * (U(arg) < 20 ? U(arg) + 1 : 20));
    return P(1);
}
static int when_busy(void *arg, int times) {
    (void)arg;
    return goroutine_callback_run(sleep_a_little, P(times)) != NULL;
}
static void *open_database(void *arg) {
    Job *job = (Job *)arg;
    job->thread = pthread_self();
    job->status = sqlite3_open_v2(path, &job->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (job->status == SQLITE_OK) job->status = sqlite3_busy_handler(job->db, when_busy, NULL);
    return NULL;
}
static void *close_database(void *arg) {
    Job *job = (Job *)arg;
    job->status = sqlite3_close(job->db);
    return NULL;
}
static int first_column(void *arg, int columns, char **values, char **names) {
    (void)names;
    if (columns > 0 && values[0] != NULL) ((Job *)arg)->value = strtoll(values[0], NULL, 10);
    return 0;
}
static void *execute(void *arg) {
    Job *job = (Job *)arg;
    char *message = NULL;
    CHECK(pthread_equal(job->thread, pthread_self()));
    job->status = sqlite3_exec(job->db, job->sql, first_column, job, &message);
    if (message != NULL) fprintf(stderr, "%s: %s\n", job->sql, message);
    sqlite3_free(message);
    return NULL;
}
static int64_t run(Job *job, const char *sql) {
    job->sql = sql;
    job->value = -1;
    execute_ffi_call(NULL, CODE(execute), job);
    CHECK_EQ(job->status, SQLITE_OK);
    return job->value;
}

static void *connection(void *arg) {
    Job job;
    char sql[128];
    int i;
    memset(&job, 0, sizeof job);
    execute_ffi_call(NULL, CODE(open_database), &job);
    CHECK_EQ(job.status, SQLITE_OK);
    run(&job, "pragma synchronous = off");
    for (i = 0; i < ROWS; i++) {
        /* A transaction over several calls, with other goroutines running in between. */
        run(&job, "begin immediate");
        snprintf(sql, sizeof sql, "insert into t values (%d, %d)", (int)U(arg), i);
        run(&job, sql);
        goroutine_yield();
        snprintf(sql, sizeof sql, "select count(*) from t where who = %d", (int)U(arg));
        CHECK_EQ(run(&job, sql), i + 1);
        run(&job, "commit");
    }
    execute_ffi_call(NULL, CODE(close_database), &job);
    CHECK_EQ(job.status, SQLITE_OK);
    return NULL;
}
static void *prepare(void *arg) {
    Job job;
    char sql[128];
    memset(&job, 0, sizeof job);
    execute_ffi_call(NULL, CODE(open_database), &job);
    CHECK_EQ(job.status, SQLITE_OK);
    if (arg == NULL) {
        run(&job, "drop table if exists t");
        run(&job, "create table t (who integer, what integer)");
    } else {
        CHECK_EQ(run(&job, "select count(*) from t"), CONNECTIONS * ROWS);
        CHECK_EQ(run(&job, "select sum(what) from t"), CONNECTIONS * (ROWS * (ROWS - 1) / 2));
        snprintf(sql, sizeof sql, "select count(distinct who) from t");
        CHECK_EQ(run(&job, sql), CONNECTIONS);
    }
    execute_ffi_call(NULL, CODE(close_database), &job);
    return NULL;
}
static void *check_rows(void *arg) { return prepare((void *)((char *)arg + 1)); }

static void round_of_all(void) {
    spawn_all(1, prepare);
    spawn_all(CONNECTIONS, connection);
    spawn_all(1, check_rows);
}

int main(int argc, char **argv) {
    CHECK_EQ(sqlite3_config(SQLITE_CONFIG_MULTITHREAD), SQLITE_OK);
    snprintf(path, sizeof path, "%s/goroutine-sqlite-%d.db", getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir, (int)getpid());
    run_rounds(argc, argv, round_of_all, 4 << 20);
    unlink(path);
    CHECK(GET(waited) > 0); /* they did get in each other's way */
    OK(goroutine_runtime_wait(10 * SECOND));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    CHECK_EQ(sqlite3_shutdown(), SQLITE_OK);
    return 0;
}
