/* For tools/cxx_links.sh: loads the plugin and prints what its run_code() says. Compiled as C, it is a process without
 * a C++ runtime until then; as C++ it has one, and has used it. */
#include <dlfcn.h>
#include <stdio.h>

#ifdef __cplusplus
#include <exception>
extern "C" {
#endif
typedef const char *Code(void);
#ifdef __cplusplus
}
#endif

int main(int count, char **arguments) {
    void *plugin;
    Code *code;
#ifdef __cplusplus
    try {
        throw 1;
    } catch (int) {
        if (std::uncaught_exceptions() != 0) return 1;
    }
#endif
    plugin = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&code = dlsym(plugin, "run_code");
    return code == NULL || puts(code()) < 0;
}
