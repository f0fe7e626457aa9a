// peer-cgo measures Go's calls of C, row by row, for the driver on the other
// end of stdin and stdout. benches/peers/README.md has the protocol.
package main

/*
#include <stdint.h>
#include <time.h>

typedef uintptr_t (*function)(uintptr_t);

__attribute__((noinline)) static uintptr_t callee(uintptr_t argument) {
	__asm__ volatile("");
	return argument;
}

// Direct calls through a pointer that the compiler knows nothing of.
static void direct(uint64_t n) {
	function f = callee;
	__asm__ volatile("" : "+r"(f));
	while (n-- != 0) f(0);
}

static void nap(uint64_t ns) {
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	nanosleep(&t, 0);
}
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	slice      = time.Millisecond
	sliceCount = 41
	roundTime  = 160 * time.Millisecond

	sleepers = 1000
	nap      = time.Millisecond
	call     = 100 * time.Millisecond
)

func check(ok bool) {
	if !ok {
		panic("peer-cgo: a result is wrong")
	}
}

// ---- calls ----

func direct(n int) { C.direct(C.uint64_t(n)) }

func calls(n int) {
	for range n {
		C.callee(0)
	}
}

func timed(f func(int), n int) float64 {
	start := time.Now()
	f(n)
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

func sliceSize(f func(int)) int {
	for n := 16; ; n *= 2 {
		took := timed(f, n) * float64(n)
		if took > float64(slice)/4 {
			return int(float64(n)*float64(slice)/took) + 1
		}
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

var directSize, callSize int

// compare alternates slices of direct calls, made by a loop in C, with slices
// of calls from Go, and gives the median slice of each. A locked goroutine has
// a thread of its own.
func compare(locked bool) string {
	if locked {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	if directSize == 0 {
		directSize, callSize = sliceSize(direct), sliceSize(calls)
	}
	var directs, all []float64
	for range sliceCount {
		directs = append(directs, timed(direct, directSize))
		all = append(all, timed(calls, callSize))
	}
	return fmt.Sprintf("%.3f %.3f", median(directs), median(all))
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// manyBound lets k goroutines, each with a thread of its own, call all the time.
func manyBound(k int) string {
	const chunk = 10_000
	var ready, done sync.WaitGroup
	var stop atomic.Bool
	var sum atomic.Int64
	gate := make(chan struct{})
	ready.Add(k)
	for range k {
		done.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-gate
			n := int64(0)
			for !stop.Load() {
				calls(chunk)
				n += chunk
			}
			sum.Add(n)
		})
	}
	ready.Wait()
	start, cpu := time.Now(), cpuTime()
	close(gate)
	time.Sleep(roundTime)
	stop.Store(true)
	done.Wait()
	wall := time.Since(start)
	cpu = cpuTime() - cpu
	n := float64(sum.Load())
	return fmt.Sprintf("%.3f %.3f", float64(wall)/n, float64(cpu)/n)
}

// ---- others meanwhile ----

type sleep struct {
	due  time.Time
	late time.Duration
}
type window struct{ start, end time.Time }

// sleepersDuring lets goroutines sleep over and over while another one does
// something for 100 ms, five times, and says how late those are that fall due
// meanwhile.
func sleepersDuring(what func()) string {
	var stop atomic.Bool
	var wg sync.WaitGroup
	sleeps := make([][]sleep, sleepers)
	for i := range sleeps {
		sleeps[i] = make([]sleep, 0, 2000)
		wg.Go(func() {
			for !stop.Load() {
				due := time.Now().Add(nap)
				time.Sleep(nap)
				sleeps[i] = append(sleeps[i], sleep{due, time.Since(due)})
			}
		})
		C.nap(1000) // or they fall due in a herd
	}
	var windows []window
	wg.Go(func() {
		for range 5 {
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			what()
			windows = append(windows, window{start, time.Now()})
		}
		stop.Store(true)
	})
	wg.Wait()
	var late []float64
	for _, s := range slices.Concat(sleeps...) {
		if slices.ContainsFunc(windows, func(w window) bool {
			return !s.due.Before(w.start) && s.due.Before(w.end)
		}) {
			late = append(late, float64(max(s.late, 0))/1e3)
		}
	}
	slices.Sort(late)
	return fmt.Sprintf("%.2f %.2f", late[len(late)/2], late[len(late)*99/100])
}

func inC() { C.nap(C.uint64_t(call)) }

func inCLocked() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	inC()
}

func answer(words []string) string {
	switch words[0] {
	case "call_bound":
		return compare(true)
	case "call_blocking":
		return compare(false)
	case "many_bound":
		if len(words) > 1 {
			if k, err := strconv.Atoi(words[1]); err == nil && k > 0 {
				return manyBound(k)
			}
		}
	case "during_nothing":
		return sleepersDuring(func() { time.Sleep(call) })
	case "during_bound":
		return sleepersDuring(inCLocked)
	case "during_blocking":
		return sleepersDuring(inC)
	}
	return "unsupported"
}

func main() {
	workers := 1
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 1 {
			fmt.Fprintln(os.Stderr, "usage: peer-cgo [workers]")
			os.Exit(2)
		}
		workers = n
	}
	runtime.GOMAXPROCS(workers)
	check(C.callee(7) == 7)
	fmt.Println("ready cgo", strings.TrimPrefix(runtime.Version(), "go"))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "quit" {
			return
		}
		fmt.Println(words[0], answer(words))
	}
}
