package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// How long keys are used without asking again: what the server's Cache-Control says.
	keysAge = 10 * time.Minute
	// A token that names an unknown key has them fetched again, but not more often than this.
	keysCooldown = 30 * time.Second
	leeway       = 5 * time.Second
)

// errNoKeys says nothing about the token.
var errNoKeys = errors.New("the keys cannot be fetched")

// claims are what a token of passkey-hsm says.
type claims struct {
	Issuer     string   `json:"iss"`
	Audience   []string `json:"aud"`
	Subject    string   `json:"sub"`
	Credential string   `json:"cred"`
	Ceremony   string   `json:"ceremony"`
	ID         string   `json:"jti"`
	Expires    int64    `json:"exp"`
}

// verifier verifies the tokens of one tenant, each of them once.
type verifier struct {
	issuer, audience string
	client           http.Client

	mutex   sync.Mutex
	keys    map[string]jwk
	fetched time.Time
	used    map[string]time.Time
}

func newVerifier(issuer, audience string) *verifier {
	return &verifier{issuer: issuer, audience: audience, client: http.Client{Timeout: 5 * time.Second}, used: map[string]time.Time{}}
}

// verify returns the claims of a login's token.
func (v *verifier) verify(token string, now time.Time) (*claims, error) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	parts := strings.Split(token, ".")
	var header struct{ Alg, Kid string }
	if len(parts) != 3 || decode(parts[0], &header) != nil {
		return nil, errors.New("this is no token")
	}
	key, err := v.key(header.Kid, now)
	if err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	// The key decides on the algorithm; the token may only agree.
	if err != nil || header.Alg != key.Alg || !key.verifies([]byte(parts[0]+"."+parts[1]), signature) {
		return nil, errors.New("the token's signature is wrong")
	}
	var c claims
	if decode(parts[1], &c) != nil {
		return nil, errors.New("the token's claims cannot be read")
	}
	return &c, v.accept(&c, now)
}

// accept judges claims whose signature was right.
func (v *verifier) accept(c *claims, now time.Time) error {
	expires := time.Unix(c.Expires, 0).Add(leeway)
	switch {
	case c.Issuer != v.issuer:
		return errors.New("the token is of another issuer")
	case !contains(c.Audience, v.audience):
		return errors.New("the token is for another application")
	case !now.Before(expires):
		return errors.New("the token has expired")
	// A token of a registration, a second factor or a transaction is as well signed as a login's, and signs nobody in.
	case c.Ceremony != "login":
		return fmt.Errorf("the token is of a %q, not of a login", c.Ceremony)
	case c.Subject == "" || c.Credential == "" || c.ID == "":
		return errors.New("the token lacks a claim")
	}
	for id, until := range v.used {
		if !now.Before(until) {
			delete(v.used, id)
		}
	}
	if _, used := v.used[c.ID]; used {
		return errors.New("the token was used before")
	}
	v.used[c.ID] = expires
	return nil
}

// key returns the tenant's key of this id, fetching the keys when that may help.
func (v *verifier) key(kid string, now time.Time) (*jwk, error) {
	age := now.Sub(v.fetched)
	key, known := v.keys[kid]
	if v.keys == nil || age > keysAge || !known && age > keysCooldown {
		keys, err := v.fetch()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errNoKeys, err)
		}
		v.keys, v.fetched = keys, now
		key, known = keys[kid]
	}
	if !known {
		return nil, errors.New("the token's key is not one of the tenant's")
	}
	return &key, nil
}

func (v *verifier) fetch() (map[string]jwk, error) {
	response, err := v.client.Get(v.issuer + "/.well-known/jwks.json")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	var set struct{ Keys []jwk }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	keys := map[string]jwk{}
	for _, key := range set.Keys {
		keys[key.Kid] = key
	}
	return keys, nil
}

// jwk is a public key (RFC 7517) of the algorithms that this example knows: ES256 and RS256.
type jwk struct {
	Kid, Alg, Kty, Crv, X, Y, N, E string
}

// verifies a signature (RFC 7518 sections 3.3, 3.4). Go's standard library has all that it takes; a JOSE module has more algorithms.
func (k *jwk) verifies(message, signature []byte) bool {
	digest := sha256.Sum256(message)
	switch {
	case k.Alg == "ES256" && k.Kty == "EC" && k.Crv == "P-256" && len(signature) == 64:
		key := ecdsa.PublicKey{Curve: elliptic.P256(), X: number(k.X), Y: number(k.Y)}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return key.Curve.IsOnCurve(key.X, key.Y) && ecdsa.Verify(&key, digest[:], r, s)
	case k.Alg == "RS256" && k.Kty == "RSA":
		key := rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
		return key.N.BitLen() >= 2048 && rsa.VerifyPKCS1v15(&key, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// number reads a Base64urlUInt (RFC 7518 section 2); zero when it is none, which no key accepts.
func number(text string) *big.Int {
	bytes, _ := base64.RawURLEncoding.DecodeString(text)
	return new(big.Int).SetBytes(bytes)
}

// decode reads a part of a token: JSON in base64url.
func decode(part string, into any) error {
	bytes, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes, into)
}

func contains(list []string, item string) bool {
	for _, one := range list {
		if one == item {
			return true
		}
	}
	return false
}
