/* What `gcc -Ofast -shared` puts into a library (crtfastmath.o): its constructor sets FTZ and DAZ. */
__attribute__((constructor)) static void set_fast_math(void) {
    unsigned v;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    v |= 0x8040;
    __asm__ volatile("ldmxcsr %0" : : "m"(v));
}
int plugin_ftz(void);
int plugin_ftz(void) { return 1; }
