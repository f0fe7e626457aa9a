/* all, race, any and allSettled do what Node's do: promises.mjs plays 1,000 cases on real promises and prints what came of
 * them; they are played again here. Skipped where there is no node. GOROUTINE_TEST_SEED: other cases. */
#include "us.h"

enum { MAX = 16, CASES = 1000 };
typedef struct Base {
    GoroutinePromise *promise, *gate; /* gate: of a goroutine, which ends when it is resolved */
    GoroutineStatus how;
    void *value;
    bool settled;
} Base;
static Base bases[MAX];
static GoroutinePromise *combinations[MAX];
static char kinds[MAX][16];
static bool is_handle[MAX];
static size_t base_count, combination_count, looked;
static uint64_t goroutines, over; /* of all cases */
static char where[64];

#define SAME(is, shall) same(__LINE__, #is, (long long)(is), (long long)(shall))
static void same(int line, const char *what, long long is, long long shall) {
    if (is != shall) fprintf(stderr, "%s: ", where);
    check_equal(__FILE__, line, what, is, shall);
}

static void *body(void *arg) {
    Base *base = (Base *)arg;
    OK(goroutine_promise_await(base->gate, GOROUTINE_FOREVER, NULL));
    if (base->how != GOROUTINE_OK) goroutine_exit(base->how, base->value);
    return base->value;
}
/* Until it is over with all that its end brings about: the next step comes after that. */
static void goroutine_is_over(void) {
    uint64_t i;
    over++;
    for (i = 0; us_stats().finished != over; i++) {
        CHECK(i < 1000000);
        thread_sleep(10 * US);
    }
}
static void end_of_case(void) {
    size_t i;
    for (i = 0; i < base_count; i++) {
        if (bases[i].gate != NULL && !bases[i].settled) {
            OK(goroutine_promise_resolve(bases[i].gate, NULL));
            goroutine_is_over();
        }
    }
    for (i = 0; i < combination_count; i++) {
        goroutine_promise_await(combinations[i], 0, NULL); /* somebody has looked at it */
        if (is_handle[i]) {
            __promise_release(combinations[i]);
        } else {
            goroutine_promise_release(combinations[i]);
        }
    }
    for (i = 0; i < base_count; i++) {
        goroutine_promise_await(bases[i].promise, 0, NULL);
        goroutine_promise_release(bases[i].promise);
        goroutine_promise_release(bases[i].gate);
    }
    base_count = combination_count = looked = 0;
}
static void make(bool goroutine) {
    Base *base = &bases[base_count++];
    CHECK(base_count <= MAX);
    memset(base, 0, sizeof *base);
    if (goroutine) {
        base->gate = goroutine_promise_new();
        base->promise = goroutine_spawn(body, base);
        goroutines++;
    } else {
        base->promise = goroutine_promise_new();
    }
    CHECK(base->promise != NULL);
}
static void settle(size_t i, const char *how, uint64_t value) {
    Base *base = &bases[i];
    bool resolves = strcmp(how, "resolve") == 0;
    CHECK(i < base_count);
    if (base->gate != NULL) {
        base->how = resolves ? GOROUTINE_OK : GOROUTINE_EREJECTED;
        base->value = P(value);
        OK(goroutine_promise_resolve(base->gate, NULL));
        goroutine_is_over();
    } else {
        SAME((resolves ? goroutine_promise_resolve : goroutine_promise_reject)(base->promise, P(value)),
             base->settled ? GOROUTINE_EALREADY : GOROUTINE_OK);
    }
    base->settled = true;
}
static GoroutinePromise *promise_of(const char *word) {
    size_t i = strtoul(word + 1, NULL, 10);
    CHECK(i < (*word == 'p' ? base_count : combination_count));
    return *word == 'p' ? bases[i].promise : combinations[i];
}
static void combine(const char *kind, size_t n, char *rest) {
    static uint64_t turn;
    GoroutinePromise *inputs[MAX], *result;
    size_t i;
    char *word = strtok(rest, " ");
    for (i = 0; i < n; i++, word = strtok(NULL, " ")) inputs[i] = promise_of(word);
    strcpy(kinds[combination_count], kind);
    is_handle[combination_count] = false;
    if (strcmp(kind, "allSettled") == 0) {
        result = goroutine_promise_all_settled(inputs, n);
    } else if (strcmp(kind, "any") == 0) {
        result = goroutine_promise_any(inputs, n);
    } else if (turn++ % 2 == 0) {
        result = (strcmp(kind, "all") == 0 ? goroutine_promise_all : goroutine_promise_race)(inputs, n);
    } else { /* UltraScript's names: the same, but a handle */
        void *handles[MAX];
        for (i = 0; i < n; i++) handles[i] = inputs[i];
        result = (GoroutinePromise *)(strcmp(kind, "all") == 0 ? __promise_all : __promise_race)(handles, (int64_t)n);
        is_handle[combination_count] = true;
    }
    CHECK(result != NULL && combination_count < MAX);
    combinations[combination_count++] = result;
}
static uint32_t state_of(size_t k) { return *(volatile uint32_t *)((char *)combinations[k] + GOROUTINE_PROMISE_OFFSET_STATE); }
static void *value_of(size_t k) { return *(void **)((char *)combinations[k] + GOROUTINE_PROMISE_OFFSET_VALUE); }
static void look(char *rest) {
    size_t k;
    char *word = strtok(rest, " ");
    for (k = 0; k < combination_count; k++, word = strtok(NULL, " ")) {
        SAME(state_of(k), *word == 'p' ? GOROUTINE_PROMISE_PENDING : *word == 'f' ? GOROUTINE_PROMISE_RESOLVED : GOROUTINE_PROMISE_REJECTED);
    }
    CHECK(word == NULL);
    looked++;
}
/* A number, or what a combination made. */
static void *value_from(const char *word) {
    return *word == 'c' ? value_of(strtoul(word + 1, NULL, 10)) : P(strtoull(word, NULL, 10));
}
static void holds(size_t k, char *rest) {
    void *value = value_of(k);
    size_t i = 0;
    char *word;
    CHECK(value != NULL);
    for (word = strtok(rest, " "); word != NULL; word = strtok(NULL, " "), i++) {
        if (strcmp(kinds[k], "allSettled") == 0) {
            const GoroutineSettled *settled = (const GoroutineSettled *)value + i;
            SAME(settled->status, *word == 'f' ? GOROUTINE_OK : GOROUTINE_EREJECTED);
            SAME(U(settled->value), U(value_from(word + 1)));
        } else {
            SAME(U(((void **)value)[i]), U(value_from(word)));
        }
    }
}
static uint64_t play(FILE *cases) {
    static char line[4096];
    uint64_t ended = 0, values = 0;
    while (fgets(line, sizeof line, cases) != NULL) {
        char word[16], how[16];
        unsigned long long n, v;
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        CHECK(sscanf(line, "%15s%n", word, &at) == 1);
        if (strcmp(word, "case") == 0) {
            end_of_case();
            snprintf(where, sizeof where, "%.60s", line);
        } else if (strcmp(word, "plain") == 0) {
            make(false);
        } else if (strcmp(word, "goroutine") == 0) {
            make(true);
        } else if (strcmp(word, "settle") == 0) {
            CHECK(sscanf(line, "%*s %llu %15s %llu", &n, how, &v) == 3);
            settle(n, how, v);
        } else if (strcmp(word, "combine") == 0) {
            CHECK(sscanf(line, "%*s %15s %llu%n", how, &n, &at) == 2);
            combine(how, n, line + at);
        } else if (strcmp(word, "look") == 0) {
            look(line + at);
        } else if (strcmp(word, "is") == 0) {
            CHECK(sscanf(line, "%*s %llu %15s", &n, how) == 2);
            SAME(U(value_of(n)), U(value_from(how)));
            values++;
        } else if (strcmp(word, "holds") == 0) {
            CHECK(sscanf(line, "%*s %llu%n", &n, &at) == 1);
            holds(n, line + at);
        } else {
            CHECK(strcmp(word, "end") == 0 && sscanf(line, "%*s %llu", &n) == 1);
            ended = n;
        }
    }
    end_of_case();
    CHECK(values > 100);
    return ended;
}
int main(void) {
    char command[4096];
    const char *slash = strrchr(__FILE__, '/');
    uint64_t cases = scaled(CASES, 5);
    FILE *node;
    if (system("command -v node >/dev/null") != 0) {
        fprintf(stderr, "skipped: no node\n");
        return 77;
    }
    snprintf(command, sizeof command, "node '%.*s/promises.mjs' %llu %llu", slash != NULL ? (int)(slash - __FILE__) : 1,
             slash != NULL ? __FILE__ : ".", (unsigned long long)environment_number("GOROUTINE_TEST_SEED", 1),
             (unsigned long long)cases);
    node = popen(command, "r");
    CHECK(node != NULL);
    us_start();
    CHECK_EQ(play(node), cases);
    CHECK_EQ(pclose(node), 0);
    CHECK(goroutines > 0 && over == goroutines);
    us_stop();
    return 0;
}
