// The demonstration's workload and measures in Go, for comparison: see demo/hand/main.c.
package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	rounds = 9
	seed   = 7
	batch  = 100
)

func check(good bool, what string) {
	if !good {
		fmt.Fprintln(os.Stderr, "wrong:", what)
		os.Exit(1)
	}
}

// memory gives bytes in use and of the page tables for it.
func memory() float64 {
	status, err := os.ReadFile("/proc/self/status")
	check(err == nil, "no /proc/self/status")
	total := 0.0
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if f[0] == "VmRSS:" || f[0] == "VmPTE:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			total += kib * 1024
		}
	}
	return total
}

// A promise is Go's nearest to one: any number may await it.
type promise struct {
	settled chan struct{}
	value   uint64
}

func (p *promise) resolve(value uint64) {
	p.value = value
	close(p.settled)
}

func factor(i int) uint64 { return uint64(2*(i%16) + 3) }

func runTasks(n int) (bytes float64) {
	promises := make([]promise, n+1)
	for i := range promises {
		promises[i].settled = make(chan struct{})
	}
	runtime.GC()
	before := memory()
	var all sync.WaitGroup
	all.Add(n)
	for i := 1; i <= n; i++ {
		go func() {
			defer all.Done()
			<-promises[0].settled
			time.Sleep(time.Duration(200_000_000 + (uint32(i)*0x9E3779B1)&0x0FFFFFFF))
			other := &promises[i/2]
			<-other.settled
			runtime.Gosched()
			promises[i].resolve(factor(i)*other.value + uint64(i))
		}()
	}
	promises[0].resolve(seed)
	time.Sleep(100 * time.Millisecond) // all sleep now
	bytes = (memory() - before) / float64(n)
	all.Wait()
	want := make([]uint64, n+1)
	want[0] = seed
	for i := 1; i <= n; i++ {
		want[i] = factor(i)*want[i/2] + uint64(i)
		check(promises[i].value == want[i], "a goroutine's value")
	}
	return bytes
}

func perOp(start time.Time, n int) float64 {
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

func batches() float64 {
	const n = 400_000 / batch
	var out [batch]int
	sum, start := 0, time.Now()
	for range n {
		var wg sync.WaitGroup
		wg.Add(batch)
		for i := range batch {
			go func() {
				out[i] = 2*i + 1
				wg.Done()
			}()
		}
		wg.Wait()
		for _, v := range out {
			sum += v
		}
	}
	took := perOp(start, n*batch)
	check(sum == n*batch*batch, "the sum of the batches")
	return took
}

func oneByOne() float64 {
	const n = 400_000
	sum, start := 0, time.Now()
	for range n {
		c := make(chan int, 1)
		go func() { c <- 1 }()
		sum += <-c
	}
	took := perOp(start, n)
	check(sum == n, "the sum of ones")
	return took
}

func yields() float64 {
	const each = 1_000_000
	var wg sync.WaitGroup
	start := time.Now()
	for range 2 {
		wg.Go(func() {
			for range each {
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	return perOp(start, 2*each)
}

func main() {
	n := 100_000
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	check(n > 0, "usage: demo-go [goroutines]")
	workers := runtime.GOMAXPROCS(0)
	bytes := runTasks(n)

	runtime.GOMAXPROCS(1)
	var spawn, await, yield []float64
	for range rounds {
		spawn, await, yield = append(spawn, batches()), append(await, oneByOne()), append(yield, yields())
	}
	median := func(values []float64) float64 {
		slices.Sort(values)
		return values[rounds/2]
	}
	fmt.Printf("%s: all values right; GOMAXPROCS %d, the times with 1, medians of %d\n",
		runtime.Version(), workers, rounds)
	fmt.Printf("  goroutines                                 %10d\n", n)
	fmt.Printf("  bytes each (VmRSS + VmPTE), at most        %10.0f\n", bytes)
	fmt.Printf("  ns per spawn: 100 spawned, run, awaited    %10.1f\n", median(spawn))
	fmt.Printf("  ns per await: spawn one, await it          %10.1f\n", median(await))
	fmt.Printf("  ns per yield, between 2                    %10.1f\n", median(yield))
}
