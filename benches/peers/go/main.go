// peer-go measures Go's goroutines, row by row, for the driver on the other
// end of stdin and stdout. benches/peers/README.md has the protocol.
package main

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
	"time"
)

const (
	batch  = 100       // goroutines spawned before they are awaited
	parked = 10_000    // goroutines in the two lateness rows
	timers = 1_000_000 // pending timers of timer_1m

	roundTime = 80 * time.Millisecond
)

// A row runs at least n operations and says how long they took and how many
// they really were.
type row func(n int) (time.Duration, int)

var rows = map[string]row{
	"yield_2":     func(n int) (time.Duration, int) { return yield(2, n) },
	"yield_1000":  func(n int) (time.Duration, int) { return yield(1000, n) },
	"spawn_batch": spawnBatch,
	"spawn_await": spawnAwait,
	"timer_0":     timerStartStop,
	"timer_1m":    timerStartStop,

	"mutex":            mutex,
	"mutex_1000":       mutex1000,
	"channel_pingpong": channelPingpong,
	"channel_128":      channel128,
	"select_4":         select4,
}

// yield lets k goroutines yield in turn. Each waits at a gate, yielding,
// until all run: the last one to come starts the clock, so that no spawn is
// in it.
func yield(k, n int) (time.Duration, int) {
	var wg sync.WaitGroup
	var arrived atomic.Int64
	var start time.Time
	var took time.Duration
	each := (n + k - 1) / k
	wg.Add(k)
	for range k {
		go func() {
			defer wg.Done()
			if arrived.Add(1) == int64(k) {
				start = time.Now()
				arrived.Add(1) // opens the gate, after the write of start
			}
			for arrived.Load() <= int64(k) {
				runtime.Gosched()
			}
			for range each {
				runtime.Gosched()
			}
			// Counts on from k+1: the last one to leave stops the clock.
			if arrived.Add(1) == int64(2*k+1) {
				took = time.Since(start)
			}
		}()
	}
	wg.Wait()
	return took, each * k
}

func spawnBatch(n int) (time.Duration, int) {
	var out [batch]int
	sum, want := 0, 0
	batches := (n + batch - 1) / batch
	start := time.Now()
	for b := range batches {
		var wg sync.WaitGroup
		wg.Add(batch)
		for i := range batch {
			go func() {
				out[i] = b
				wg.Done()
			}()
		}
		wg.Wait()
		for _, v := range out {
			sum += v
		}
		want += b * batch
	}
	took := time.Since(start)
	check(sum == want)
	return took, batches * batch
}

func spawnAwait(n int) (time.Duration, int) {
	sum := 0
	start := time.Now()
	for i := range n {
		c := make(chan int, 1)
		go func() { c <- i }()
		sum += <-c
	}
	took := time.Since(start)
	check(sum == n*(n-1)/2)
	return took, n
}

func mutex(n int) (time.Duration, int) {
	var m sync.Mutex
	start := time.Now()
	for range n {
		m.Lock()
		m.Unlock()
	}
	return time.Since(start), n
}

// mutex1000 lets 1,000 goroutines contend for a mutex and yield inside.
func mutex1000(n int) (time.Duration, int) {
	var m sync.Mutex
	var wg sync.WaitGroup
	count, each := 0, (n+999)/1000
	start := time.Now()
	for range 1000 {
		wg.Go(func() {
			for range each {
				m.Lock()
				count++
				runtime.Gosched()
				m.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	check(count == each*1000)
	return took, count
}

func channelPingpong(n int) (time.Duration, int) {
	there, back := make(chan int), make(chan int)
	start := time.Now()
	go func() {
		for range n {
			back <- <-there
		}
	}()
	for i := range n {
		there <- i
		check(<-back == i)
	}
	return time.Since(start), n
}

func channel128(n int) (time.Duration, int) {
	c := make(chan int, 128)
	start := time.Now()
	go func() {
		for i := range n {
			c <- i
		}
	}()
	for i := range n {
		check(<-c == i)
	}
	return time.Since(start), n
}

func select4(n int) (time.Duration, int) {
	var c [4]chan int
	for i := range c {
		c[i] = make(chan int)
	}
	start := time.Now()
	go func() {
		for i := range n {
			c[i*5/3%4] <- i
		}
	}()
	for i := range n {
		var v int
		select {
		case v = <-c[0]:
		case v = <-c[1]:
		case v = <-c[2]:
		case v = <-c[3]:
		}
		check(v == i)
	}
	return time.Since(start), n
}

var fired atomic.Int64

func onTimer() { fired.Add(1) }

func timerStartStop(n int) (time.Duration, int) {
	stopped := 0
	start := time.Now()
	for range n {
		if time.AfterFunc(time.Hour, onTimer).Stop() {
			stopped++
		}
	}
	took := time.Since(start)
	check(stopped == n)
	return took, n
}

var pending []*time.Timer

// setPending starts, or stops, the million timers that timer_1m runs among.
// They are gone while any other row runs, because the collector and the timer
// heap would let that row pay for them.
func setPending(want int) {
	if len(pending) == want {
		return
	}
	for _, t := range pending {
		t.Stop()
	}
	pending = nil
	for i := range want {
		// The multiplier scatters the deadlines, in whole us, over 1 to 3,600 s.
		us := time.Duration(uint64(i) * 2654435761 % 3_599_000_000)
		pending = append(pending, time.AfterFunc(time.Second+us*time.Microsecond, onTimer))
	}
	runtime.GC()
}

// lateness sleeps for d and says by how many ns more than that it took.
func lateness(d time.Duration) uint32 {
	before := time.Now()
	time.Sleep(d)
	return uint32(min(max(time.Since(before)-d, 0), 1<<32-1))
}

// sleepLateness starts its sleepers 1 us apart, so that they fall due one by
// one and not in a herd.
func sleepLateness(seconds float64) []uint32 {
	const nap = 10 * time.Millisecond
	late := make([][]uint32, parked)
	for i := range late {
		late[i] = make([]uint32, 0, int(seconds*100)+2)
	}
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	for i := range late {
		for time.Since(start) < time.Duration(i)*time.Microsecond {
			runtime.Gosched()
		}
		wg.Go(func() {
			for time.Now().Before(end) {
				late[i] = append(late[i], lateness(nap))
			}
		})
	}
	wg.Wait()
	return slices.Concat(late...)
}

func loneSleeper() []uint32 {
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range parked {
		wg.Go(func() { <-gate })
	}
	late := make([]uint32, 1000)
	wg.Go(func() {
		for i := range late {
			late[i] = lateness(time.Millisecond)
		}
		close(gate)
	})
	wg.Wait()
	return late
}

// held has one goroutine hold a lock over 50 ms, then all of 100 others in
// turn, over and over for a second, while 10 sleep 1 ms over and over. Without
// a lock all but those sleep 50 ms.
func held(lock bool) []uint32 {
	const hold = 50 * time.Millisecond
	var m sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(time.Second)
	late := make([][]uint32, 10)
	for i := range 101 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if lock {
					m.Lock()
				}
				if i == 0 || !lock {
					time.Sleep(hold)
				}
				if lock {
					m.Unlock()
					runtime.Gosched()
				}
			}
		})
	}
	for i := range late {
		wg.Go(func() {
			for time.Now().Before(end) {
				late[i] = append(late[i], lateness(time.Millisecond))
			}
		})
	}
	wg.Wait()
	return slices.Concat(late...)
}

func check(ok bool) {
	if !ok {
		panic("peer-go: a result is wrong")
	}
}

var size = map[string]int{}

// round runs a row once; its first call warms the row up and finds how many
// operations fill roundTime.
func round(name string, r row) float64 {
	if size[name] == 0 {
		fill := roundTime
		if name == "timer_1m" {
			// Long enough for its share of the collector and of the sweeps
			// of stopped timers: else every other round is twice as slow.
			fill *= 4
		}
		n := 1000
		took, ops := r(n)
		for took < fill/4 {
			n *= 4
			took, ops = r(n)
		}
		size[name] = max(1, int(float64(ops)*float64(fill)/float64(took)))
	}
	took, ops := r(size[name])
	return float64(took.Nanoseconds()) / float64(ops)
}

func percentiles(late []uint32) string {
	slices.Sort(late)
	us := func(p int) float64 { return float64(late[len(late)*p/100]) / 1e3 }
	return fmt.Sprintf("%.2f %.2f", us(50), us(99))
}

func answer(words []string) string {
	name := words[0]
	if name == "timer_1m" {
		setPending(timers)
	} else {
		setPending(0)
	}
	switch name {
	case "sleep_lateness":
		seconds := 3.0
		if len(words) > 1 {
			if s, err := strconv.ParseFloat(words[1], 64); err == nil && s > 0 {
				seconds = s
			}
		}
		return percentiles(sleepLateness(seconds))
	case "lone_sleeper":
		return percentiles(loneSleeper())
	case "held_nothing", "held_mutex":
		late := held(name == "held_mutex")
		return fmt.Sprintf("%s %.2f", percentiles(late), float64(slices.Max(late))/1e3)
	}
	if r, ok := rows[name]; ok {
		return fmt.Sprintf("%.2f", round(name, r))
	}
	return "unsupported"
}

func main() {
	workers := 1
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 1 {
			fmt.Fprintln(os.Stderr, "usage: peer-go [workers]")
			os.Exit(2)
		}
		workers = n
	}
	runtime.GOMAXPROCS(workers)
	fmt.Println("ready go", strings.TrimPrefix(runtime.Version(), "go"))
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
