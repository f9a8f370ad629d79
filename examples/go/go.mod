module example.org/passkey-hsm/example

go 1.19
