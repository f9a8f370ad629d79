// An application's own server: passkeys by passkey-hsm, sessions by itself. See README.md.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const sessionTime = time.Hour

type session struct {
	UserID       string `json:"user_id"`
	CredentialID string `json:"credential_id"`
	until        time.Time
}

type application struct {
	verifier *verifier
	// In memory: an application has a database for these.
	mutex    sync.Mutex
	sessions map[string]session
}

// signIn answers POST /session {"token"}.
func (a *application) signIn(w http.ResponseWriter, r *http.Request) {
	// A form of another site can post text, and cannot post JSON.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, map[string]string{"error": "JSON is needed"})
		return
	}
	var body struct{ Token string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 65536)).Decode(&body); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body has no token"})
		return
	}
	claims, err := a.verifier.verify(body.Token, time.Now())
	if errors.Is(err, errNoKeys) {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	if err != nil {
		answer(w, http.StatusUnauthorized, map[string]string{"error": err.Error()})
		return
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "no random bytes"})
		return
	}
	id := base64.RawURLEncoding.EncodeToString(secret)
	a.mutex.Lock()
	a.sessions[id] = session{claims.Subject, claims.Credential, time.Now().Add(sessionTime)}
	a.mutex.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: "session", Value: id, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode, MaxAge: int(sessionTime.Seconds()),
	})
	w.WriteHeader(http.StatusNoContent)
}

// me answers GET /me.
func (a *application) me(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie("session"); err == nil {
		a.mutex.Lock()
		found := a.sessions[cookie.Value]
		a.mutex.Unlock()
		if time.Now().Before(found.until) {
			answer(w, http.StatusOK, found)
			return
		}
	}
	answer(w, http.StatusUnauthorized, map[string]string{"error": "not signed in"})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func only(method string, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			answer(w, http.StatusMethodNotAllowed, map[string]string{"error": "use " + method})
			return
		}
		handler(w, r)
	}
}

func need(name string) string {
	value := os.Getenv(name)
	if value == "" {
		log.Fatalf("%s is not set", name)
	}
	return value
}

func main() {
	a := &application{
		verifier: newVerifier(need("PASSKEY_URL")+"/"+need("PASSKEY_TENANT"), need("PASSKEY_RP_ID")),
		sessions: map[string]session{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/session", only(http.MethodPost, a.signIn))
	mux.HandleFunc("/me", only(http.MethodGet, a.me))
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://localhost:%d\n", listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
