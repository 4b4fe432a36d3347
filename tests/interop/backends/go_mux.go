// Go's net/http with ServeMux.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

type turn struct{}

var (
	lock sync.Mutex
	log  *os.File
)

func handler(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		lazy := r.Header.Get("X-Lazy") != ""
		var body []byte
		if !lazy {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return
			}
		}
		sum := sha256.Sum256(body)
		headers := [][2]string{}
		for key, values := range r.Header {
			for _, value := range values {
				headers = append(headers, [2]string{key, value})
			}
		}
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		line, _ := json.Marshal(map[string]any{
			"handler": name, "method": r.Method, "path": r.URL.Path, "target": r.RequestURI, "query": r.URL.RawQuery,
			"host": r.Host, "client": client, "headers": headers, "length": len(body), "sha": hex.EncodeToString(sum[:]),
			"turn": r.Context().Value(turn{}).(*atomic.Int64).Add(1), "lazy": lazy,
		})
		lock.Lock()
		log.Write(append(line, '\n'))
		lock.Unlock()
		w.Header().Set("content-type", "application/json")
		w.Write(line)
	}
}

func main() {
	log, _ = os.OpenFile(os.Getenv("LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	mux := http.NewServeMux()
	for name, patterns := range map[string][]string{
		"admin":  {"/admin", "/admin/"},
		"orders": {"/orders", "/orders/"},
		"user":   {"/users/{id}"},
		"secret": {"/users/{id}/secret"},
		"own":    {"/own/{id}", "/own/{id}/{rest...}"},
		"verb":   {"/me:delete"},
		"cafe":   {"/café"},
		"keys":   {"/keys"},
		"other":  {"/"},
	} {
		for _, pattern := range patterns {
			mux.HandleFunc(pattern, handler(name))
		}
	}
	server := http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.ConnContext = func(c context.Context, _ net.Conn) context.Context {
		return context.WithValue(c, turn{}, new(atomic.Int64))
	}
	panic(server.ListenAndServe())
}
