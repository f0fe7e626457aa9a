/* What a request asks for. */
#include "webserver.h"
#include <ctype.h>
#include <errno.h>
#include <goroutine_curl.h>
#include <goroutine_pq.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROXY_MAX = 1 << 20, JOBS = 256 };

static void plain(Connection *c, const Request *request) {
    (void)request;
    respond(c, 200, "text/plain", "hello\n", 6);
}

static void sleep_for(Connection *c, const Request *request) {
    char *end;
    const char *number = request->path + strlen("/sleep/");
    unsigned long long ms = strtoull(number, &end, 10);
    if (!isdigit((unsigned char)*number) || *end != 0 || ms > 60000) {
        respond_text(c, 400, "milliseconds, 60000 at most\n");
        return;
    }
    if (goroutine_sleep(ms * MS) == GOROUTINE_OK) respond_text(c, 200, "%llu ms\n", ms);
    else respond_text(c, 503, "stopping\n");
}

static void show_metrics(Connection *c, const Request *request) {
    size_t bytes = 0;
    char *text = metrics(&bytes);
    (void)request;
    if (text == NULL) respond_text(c, 503, "out of memory\n");
    else respond(c, 200, "text/plain; version=0.0.4", text, bytes);
    free(text);
}

/* ---- /user/:id, from PostgreSQL. ---- */

static GoroutineChannel *database; /* the connections that nobody uses: a PGconn *, or NULL, which is still to be made */

/* Each connection plans the query once. */
static PGconn *connect_database(void) {
    PGconn *conn = goroutine_pq_connect(options.database, options.database_ns);
    if (PQstatus(conn) == CONNECTION_OK)
        PQclear(goroutine_pq_prepare(conn, "user", "select name from users where id = $1::bigint", 1, NULL, options.database_ns));
    return conn;
}

static void user(Connection *c, const Request *request) {
    const char *id = request->path + strlen("/user/"), *values[1] = {id};
    size_t digits = strspn(id, "0123456789");
    char name[300];
    PGconn *conn = NULL;
    PGresult *result = NULL;
    ExecStatusType status = PGRES_FATAL_ERROR;
    if (digits == 0 || digits > 18 || id[digits] != 0) {
        respond_text(c, 400, "an id is a number\n");
        return;
    }
    if (database == NULL) {
        respond_text(c, 501, "no database\n");
        return;
    }
    if (goroutine_channel_receive(database, &conn, options.database_ns) != GOROUTINE_OK) {
        respond_text(c, 503, "the database is busy\n");
        return;
    }
    if (conn == NULL) conn = connect_database();
    if (PQstatus(conn) == CONNECTION_OK) {
        result = goroutine_pq_exec_prepared(conn, "user", 1, values, NULL, NULL, 0, options.database_ns);
        status = PQresultStatus(result);
    }
    if (status != PGRES_TUPLES_OK) { /* the next one begins anew: it may be lost, or have no statement */
        char why[300];
        report("database", "\"error\":\"%s\"", json_text(why, sizeof why, conn == NULL ? "" : PQerrorMessage(conn)));
        goroutine_pq_finish(conn);
        conn = NULL;
    }
    goroutine_channel_send(database, &conn, GOROUTINE_FOREVER); /* there is room: it came from there */
    if (status != PGRES_TUPLES_OK) respond_text(c, 502, "the database does not answer\n");
    else if (PQntuples(result) == 0) respond_text(c, 404, "no such user\n");
    else {
        char text[512];
        int n = snprintf(text, sizeof text, "{\"id\":%s,\"name\":\"%s\"}\n", id, json_text(name, sizeof name, PQgetvalue(result, 0, 0)));
        respond(c, 200, "application/json", text, (size_t)n);
    }
    PQclear(result);
}

/* ---- /proxy/..., from another server. ---- */

typedef struct Page {
    char *text;
    size_t bytes;
} Page;
static size_t take(char *data, size_t size, size_t n, void *arg) {
    Page *page = (Page *)arg;
    char *more;
    if (page->bytes + size * n > PROXY_MAX) return 0; /* ends it */
    more = (char *)realloc(page->text, page->bytes + size * n + 1);
    if (more == NULL) return 0;
    page->text = more;
    memcpy(more + page->bytes, data, size * n);
    page->bytes += size * n;
    return size * n;
}
static void proxy(Connection *c, const Request *request) {
    char url[8192];
    Page page = {NULL, 0};
    CURLcode code = CURLE_OUT_OF_MEMORY;
    char *type = NULL;
    long status = 0;
    CURL *easy;
    if (options.upstream == NULL) {
        respond_text(c, 501, "no other server\n");
        return;
    }
    snprintf(url, sizeof url, "%s%s%s%s", options.upstream, request->path + strlen("/proxy"), *request->query ? "?" : "", request->query);
    easy = curl_easy_init();
    if (easy != NULL) {
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &page);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10000L);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        code = goroutine_curl_perform(easy);
        if (code == CURLE_OK) curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (code == CURLE_OK) curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    }
    if (code == CURLE_OPERATION_TIMEDOUT) respond_text(c, 504, "the other server does not answer\n");
    else if (code != CURLE_OK || status < 200 || status > 599) respond_text(c, 502, "%s\n", curl_easy_strerror(code));
    else respond(c, (int)status, type == NULL ? "application/octet-stream" : type, page.text, page.bytes);
    curl_easy_cleanup(easy);
    free(page.text);
}

/* ---- /predict, by LibTorch: goroutines that are bound to their threads, whose models they are, take one job after the other. ---- */

typedef struct Job {
    Prediction prediction;
    GoroutinePromise *done; /* its value is the job, which goes with it */
} Job;
static GoroutineChannel *jobs;
static GoroutinePromise *predictors[64];

/* A foreign call: its thread is the goroutine's from here on. It computes, and takes what the others leave. */
static void *give_way(void *unused) {
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), options.predict_nice) != 0) report("nice", "\"error\":\"%s\"", strerror(errno));
    return unused;
}
static void *predictor(void *unused) {
    Job *job = NULL;
    if (options.predict_nice != 0) execute_ffi_call(NULL, CODE(give_way), NULL);
    goroutine_cancel_disable(); /* it ends when the channel is closed */
    while (goroutine_channel_receive(jobs, &job, GOROUTINE_FOREVER) == GOROUTINE_OK) {
        GoroutinePromise *done = job->done;
        execute_ffi_call(NULL, CODE(predict), &job->prediction);
        goroutine_promise_resolve(done, job);
        goroutine_promise_release(done);
    }
    return unused;
}

static bool numbers(const char *text, float *x) {
    int i;
    for (i = 0; i < FEATURES; i++) {
        char *end;
        x[i] = strtof(text, &end);
        if (end == text || *end != (i + 1 < FEATURES ? ',' : 0)) return false;
        text = end + 1;
    }
    return true;
}
static void predicted(Connection *c, const Request *request) {
    const char *text = strncmp(request->query, "x=", 2) == 0 ? request->query + 2 : request->body;
    Job *job;
    GoroutinePromise *done;
    if (jobs == NULL) {
        respond_text(c, 501, "no LibTorch\n");
        return;
    }
    job = (Job *)calloc(1, sizeof *job);
    done = job == NULL ? NULL : goroutine_promise_new_with(free);
    if (done == NULL) {
        free(job);
        respond_text(c, 503, "out of memory\n");
        return;
    }
    job->done = done;
    if (!numbers(text, job->prediction.x)) {
        free(job);
        respond_text(c, 400, "x=%d numbers with commas\n", FEATURES);
    } else {
        goroutine_promise_retain(done); /* the predictor's */
        if (goroutine_channel_send(jobs, &job, 5 * SECOND) != GOROUTINE_OK) {
            goroutine_promise_release(done);
            free(job);
            respond_text(c, 503, "busy\n");
        } else if (goroutine_promise_await(done, 10 * SECOND, NULL) != GOROUTINE_OK) {
            respond_text(c, 504, "it takes too long\n");
        } else if (!job->prediction.ok) {
            respond_text(c, 500, "the model failed\n");
        } else {
            respond_text(c, 200, "%.6f\n", (double)job->prediction.y);
        }
    }
    goroutine_promise_release(done);
}

/* ---- All of them. ---- */

static const struct {
    const char *path;
    bool is_prefix, takes_post;
    void (*answer)(Connection *c, const Request *request);
} routes[] = {
    {"/", false, false, plain},         {"/user/", true, false, user},     {"/proxy/", true, false, proxy},
    {"/predict", false, true, predicted}, {"/sleep/", true, false, sleep_for}, {"/metrics", false, false, show_metrics},
};

void route(Connection *c, const Request *request) {
    bool gets = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    size_t i;
    for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t n = strlen(routes[i].path);
        if (routes[i].is_prefix ? strncmp(request->path, routes[i].path, n) != 0 : strcmp(request->path, routes[i].path) != 0) continue;
        if (gets || (routes[i].takes_post && strcmp(request->method, "POST") == 0)) routes[i].answer(c, request);
        else respond_text(c, 405, "GET or HEAD\n");
        return;
    }
    respond_text(c, 404, "nothing is here\n");
}

bool routes_start(void) {
    PGconn *none = NULL;
    uint32_t i;
    int n;
    if (options.database != NULL) {
        database = goroutine_channel_new(sizeof none, (size_t)options.database_connections);
        if (database == NULL) return false;
        for (n = 0; n < options.database_connections; n++) goroutine_channel_send(database, &none, 0);
    }
    if (!predict_exists || options.predictors == 0) return true;
    jobs = goroutine_channel_new(sizeof(Job *), JOBS);
    if (jobs == NULL) return false;
    for (i = 0; i < options.predictors; i++) {
        GoroutineSpawn spawn;
        goroutine_spawn_init(&spawn);
        spawn.fn = CODE(predictor);
        spawn.flags = GOROUTINE_SPAWN_BOUND;
        spawn.name = "predictor";
        if (goroutine_spawn_with(&spawn, &predictors[i]) != GOROUTINE_OK) return false;
    }
    return true;
}

/* When no request is under way. */
void routes_stop(void) {
    PGconn *conn = NULL;
    uint32_t i;
    if (jobs != NULL) {
        goroutine_channel_close(jobs);
        for (i = 0; i < options.predictors; i++) goroutine_promise_await_take(predictors[i], 10 * SECOND, NULL);
        goroutine_channel_free(jobs);
    }
    while (database != NULL && goroutine_channel_receive(database, &conn, 0) == GOROUTINE_OK) goroutine_pq_finish(conn);
    goroutine_channel_free(database);
    goroutine_curl_cleanup();
}
