// A Go library as C sees it: every export is a `void *f(void *args)`, so that each class of foreign call can call it.
// What it does is what real ones do: goroutines and channels, memory and its collector, callbacks into C, long
// computations, deep stacks, recovered nil pointers, the environment, other programs.
package main

/*
#include <stdint.h>

typedef struct SuitePair { int64_t a, b; } SuitePair;
// Calls fn(arg) `times` times; the results are added up.
typedef struct SuiteCallback { void *(*fn)(void *); void *arg; int64_t times; } SuiteCallback;

static uintptr_t suite_call_back(SuiteCallback *c) { return (uintptr_t)c->fn(c->arg); }
*/
import "C"

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

//export suite_add
func suite_add(p *C.SuitePair) uintptr { return uintptr(p.a + p.b) }

// suite_identity is for counting calls: it does nothing.
//
//export suite_identity
func suite_identity(p uintptr) uintptr { return p }

// suite_goroutines: n goroutines sleep and send; gives the sum of what they sent.
//
//export suite_goroutines
func suite_goroutines(n uintptr) uintptr {
	numbers := make(chan uintptr)
	for i := uintptr(1); i <= n; i++ {
		go func(i uintptr) {
			time.Sleep(time.Millisecond)
			numbers <- i
		}(i)
	}
	var sum uintptr
	for i := uintptr(0); i < n; i++ {
		sum += <-numbers
	}
	return sum
}

type tree struct {
	left, right *tree
	bytes       [64]byte
}

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{left: grow(depth - 1), right: grow(depth - 1)}
}
func (t *tree) count() uintptr {
	if t == nil {
		return 0
	}
	return 1 + t.left.count() + t.right.count()
}

// suite_collect: n rounds of garbage around a tree that must survive; gives the tree's size.
//
//export suite_collect
func suite_collect(n uintptr) uintptr {
	kept := grow(10)
	for i := uintptr(0); i < n; i++ {
		grow(10)
		runtime.GC()
	}
	return kept.count()
}

// suite_environment: whether SUITE_ENVIRONMENT, set before the load, is "seen".
//
//export suite_environment
func suite_environment(uintptr) uintptr {
	if os.Getenv("SUITE_ENVIRONMENT") == "seen" {
		return 1
	}
	return 0
}

func callBack(c *C.SuiteCallback) (sum uintptr) {
	for i := C.int64_t(0); i < c.times; i++ {
		sum += uintptr(C.suite_call_back(c))
	}
	return
}

// suite_callback calls back on the calling thread.
//
//export suite_callback
func suite_callback(c *C.SuiteCallback) uintptr { return callBack(c) }

// suite_callback_elsewhere calls back on a thread that Go made.
//
//export suite_callback_elsewhere
func suite_callback_elsewhere(c *C.SuiteCallback) uintptr {
	sum := make(chan uintptr)
	go func() {
		runtime.LockOSThread() // this goroutine's end ends the thread, too
		sum <- callBack(c)
	}()
	return <-sum
}

// suite_spin computes for n milliseconds, and at least 1e6 numbers, without a call, while collections want the world stopped: it
// must be interrupted for that by a signal. Gives how many collections there were; 0: none within 20 seconds.
//
//export suite_spin
func suite_spin(n uintptr) uintptr {
	var wait sync.WaitGroup
	var collections, over uint32
	begin := time.Now()
	wait.Add(1)
	go func() {
		defer wait.Done()
		for atomic.LoadUint32(&over) == 0 {
			runtime.GC()
			atomic.AddUint32(&collections, 1)
		}
	}()
	x := uint64(1)
	for {
		for i := 0; i < 1_000_000; i++ {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		took := time.Since(begin)
		if took >= time.Duration(n)*time.Millisecond && atomic.LoadUint32(&collections) > 0 || took > 20*time.Second {
			break
		}
	}
	atomic.StoreUint32(&over, 1)
	wait.Wait()
	if x == 0 {
		return 0
	}
	return uintptr(collections)
}

//go:noinline
func deep(n uintptr, pad [128]uintptr) uintptr {
	if n == 0 {
		return pad[0]
	}
	pad[1+n%127] = n
	return deep(n-1, pad) + 1
}

// suite_deep recurses n deep, about a kilobyte each; gives n.
//
//export suite_deep
func suite_deep(n uintptr) uintptr { return deep(n, [128]uintptr{}) }

//go:noinline
func dereference(p *int) (message string) {
	defer func() {
		if r := recover(); r != nil {
			message = r.(error).Error()
		}
	}()
	*p = 1
	return "no panic"
}

// suite_nil recovers n nil pointer dereferences; gives how many it saw.
//
//export suite_nil
func suite_nil(n uintptr) (seen uintptr) {
	for i := uintptr(0); i < n; i++ {
		if strings.Contains(dereference(nil), "nil pointer dereference") {
			seen++
		}
	}
	return
}

// suite_exec: whether another program runs and answers.
//
//export suite_exec
func suite_exec(uintptr) uintptr {
	out, err := exec.Command("/bin/echo", "from", "go").Output()
	if err == nil && string(out) == "from go\n" {
		return 1
	}
	return 0
}

// suite_thread: the thread that it runs on.
//
//export suite_thread
func suite_thread(uintptr) uintptr {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return uintptr(syscall.Gettid())
}

// suite_sleep parks the Go goroutine; the thread that called waits in C for n milliseconds.
//
//export suite_sleep
func suite_sleep(n uintptr) uintptr {
	time.Sleep(time.Duration(n) * time.Millisecond)
	return n
}

// suite_heap: the bytes that Go has in use after a collection that gives back what it can.
//
//export suite_heap
func suite_heap(uintptr) uintptr {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return uintptr(stats.HeapInuse + stats.StackInuse)
}

var version = C.CString(runtime.Version())

// suite_version: a C string that lives as long as the library.
//
//export suite_version
func suite_version(uintptr) unsafe.Pointer { return unsafe.Pointer(version) }

func main() {}
