// peer-go-io is Go's servers: peer-go-io echo|http PORT. GOMAXPROCS is the
// number of workers. One goroutine per connection.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
)

func echo(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(runtime.Version())
		return
	}
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "peer-go-io echo|http PORT")
		os.Exit(2)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Args[1] == "http" {
		hello := []byte("Hello, world!")
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(hello)
		}))
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		go echo(c)
	}
}
