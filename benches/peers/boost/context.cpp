// Boost.Context: the raw switch by fcontext, the fastest of its interfaces
// (fiber and callcc are wrappers over it). It has no scheduler, hence no other
// row.
#include "peer.hpp"

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fixedsize_stack.hpp>

using namespace boost::context;

// Hands back what it is given, plus one.
static void echo(detail::transfer_t t) {
    for (;;)
        t = detail::jump_fcontext(t.fctx, (void *)((uintptr_t)t.data + 1));
}

int main() {
    stack_context stack = fixedsize_stack(64 * 1024).allocate();
    detail::fcontext_t other = detail::make_fcontext(stack.sp, stack.size, echo);
    other = detail::jump_fcontext(other, nullptr).fctx;

    peer::serve("boost-context", {{"switch", [&](uint64_t n) {
                     uintptr_t x = 0;
                     auto start = peer::Clock::now();
                     for (uint64_t i = 0; i < n / 2; i++) {
                         detail::transfer_t t = detail::jump_fcontext(other, (void *)x);
                         other = t.fctx;
                         x = (uintptr_t)t.data;
                     }
                     auto time = peer::Clock::now() - start;
                     peer::check(x == n / 2);
                     return peer::Took{time, n / 2 * 2};
                 }}});
}
