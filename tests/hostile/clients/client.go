// Go: net/http. Prints NAME OPERATION ok|what.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: 5 * time.Second}}
	attempt := func(operation, method string, body io.Reader, expect bool, wanted string) {
		said := "ok"
		request, err := http.NewRequest(method, os.Args[1]+"/c", body)
		if err == nil && expect {
			request.Header.Set("Expect", "100-continue")
		}
		var answer *http.Response
		if err == nil {
			answer, err = client.Do(request)
		}
		if err != nil {
			said = "FAILED " + err.Error()
		} else {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != 200 || string(text) != wanted {
				said = fmt.Sprint("FAILED ", answer.StatusCode, " ", string(text))
			}
		}
		fmt.Println("go-net/http", operation, said)
	}
	attempt("get", "GET", nil, false, "GET 0")
	attempt("post", "POST", strings.NewReader("hello"), false, "POST 5")
	attempt("chunked", "POST", struct{ io.Reader }{strings.NewReader("hello")}, false, "POST 5")
	attempt("expect", "POST", strings.NewReader("hello"), true, "POST 5")
	attempt("head", "HEAD", nil, false, "")
	attempt("keep-alive", "GET", nil, false, "GET 0")
}
