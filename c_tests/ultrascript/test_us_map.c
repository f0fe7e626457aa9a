/* goMap(f, array): each element through a goroutine of its own, all awaited in order. Three deep: of arrays of arrays. */
#include "us.h"
#include <stddef.h>

enum { ROWS = 30, COLUMNS = 40 };
static uint64_t table[ROWS][COLUMNS], results[ROWS][COLUMNS], row_sums[ROWS], grand;
static uint64_t *row_starts[ROWS];

typedef struct Map { /* the arguments of goMap, and its scratch */
    void *function;
    const void *in;
    void *out;
    uint64_t n;
    void **handles;
} Map;

/* void *go_map(Map *map) */
static void *emit_map(void) {
    Function f = us_begin(3);
    size_t pass[2];
    unsigned i;
    us_set(&f, 0, RDI);
    for (i = 0; i < 2; i++) {
        pass[i] = us_loop(&f, 1);
        us_get(&f, RAX, 0);
        us_get(&f, RCX, 1);
        if (i == 0) {
            emit_load(&f.e, RDI, RAX, offsetof(Map, function));
            emit_load(&f.e, RDX, RAX, offsetof(Map, in));
            us_indexed(&f, 0x8B, RSI, RDX, RCX);
            US_CALL(&f, __goroutine_spawn_func_ptr);
        } else {
            emit_load(&f.e, RDX, RAX, offsetof(Map, handles));
            us_indexed(&f, 0x8B, RDI, RDX, RCX);
            us_set(&f, 2, RDI);
            US_CALL(&f, __promise_await);
        }
        us_get(&f, RDX, 0);
        emit_load(&f.e, RDX, RDX, i == 0 ? offsetof(Map, handles) : offsetof(Map, out));
        us_get(&f, RCX, 1);
        us_indexed(&f, 0x89, RAX, RDX, RCX);
        if (i == 1) {
            us_get(&f, RDI, 2);
            US_CALL(&f, __promise_release);
        }
        us_get(&f, RCX, 1);
        us_op_constant(&f, 0, RCX, 1);
        us_set(&f, 1, RCX);
        us_get(&f, RAX, 0);
        emit_compare(&f.e, RCX, RAX, offsetof(Map, n));
        emit_jump_back_if(&f.e, LESS, pass[i]);
    }
    us_get(&f, RAX, 0);
    emit_load(&f.e, RAX, RAX, offsetof(Map, out));
    return us_end(&f);
}
/* void *f(void *n): n * n, a little later */
static void *emit_square(void) {
    Function f = us_begin(1);
    us_set(&f, 0, RDI);
    us_constant(&f, RDI, us_below(20000));
    US_CALL(&f, __runtime_time_sleep_nanos);
    us_get(&f, RAX, 0);
    EMIT(&f.e, "\x48\x0F\xAF\xC0"); /* imul rax, rax */
    return us_end(&f);
}
static void *go_map, *square;
HOST Map *map_of_row(uint64_t *row) {
    Map *map = (Map *)calloc(1, sizeof *map);
    map->function = square;
    map->in = row;
    map->out = results[(row - table[0]) / COLUMNS];
    map->n = COLUMNS;
    map->handles = (void **)calloc(COLUMNS, sizeof(void *));
    return map;
}
HOST uint64_t sum_of(Map *map) {
    uint64_t sum = 0, i;
    for (i = 0; i < map->n; i++) sum += ((uint64_t *)map->out)[i];
    free(map->handles);
    free(map);
    return sum;
}
/* void *f(void *row): goMap over the row, called directly; then its sum. */
static void *emit_row(void) {
    Function f = us_begin(1);
    US_CALL(&f, map_of_row);
    us_set(&f, 0, RAX);
    us_move(&f, RDI, RAX);
    us_call(&f, go_map);
    us_get(&f, RDI, 0);
    US_CALL(&f, sum_of);
    return us_end(&f);
}
static Map of_rows;
static void *row_handles[ROWS];
HOST void keep(uint64_t sum) { grand = sum; }
HOST uint64_t sum_rows(const uint64_t *sums) {
    uint64_t sum = 0, i;
    for (i = 0; i < ROWS; i++) sum += sums[i];
    return sum;
}
static void *emit_main(void) {
    Function f;
    square = emit_square();
    go_map = emit_map();
    of_rows.function = emit_row();
    of_rows.in = row_starts;
    of_rows.out = row_sums;
    of_rows.n = ROWS;
    of_rows.handles = row_handles;
    f = us_begin(0);
    us_constant(&f, RDI, U(&of_rows));
    us_call(&f, go_map);
    us_move(&f, RDI, RAX);
    US_CALL(&f, sum_rows);
    us_move(&f, RDI, RAX);
    US_CALL(&f, keep);
    return us_end(&f);
}
static void before(void) {
    uint64_t i, j;
    memset(results, 0, sizeof results);
    memset(row_sums, 0, sizeof row_sums);
    grand = 0;
    for (i = 0; i < ROWS; i++) {
        row_starts[i] = table[i];
        for (j = 0; j < COLUMNS; j++) table[i][j] = us_below(1000);
    }
}
static void check(void) {
    uint64_t i, j, sum = 0;
    for (i = 0; i < ROWS; i++) {
        uint64_t row = 0;
        for (j = 0; j < COLUMNS; j++) {
            CHECK_EQ(results[i][j], table[i][j] * table[i][j]);
            row += results[i][j];
        }
        CHECK_EQ(row_sums[i], row);
        sum += row;
    }
    CHECK_EQ(grand, sum);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}
