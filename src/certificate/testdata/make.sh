#!/bin/sh
# Makes the test vectors of this folder with the tools that users have: openssl 3 and a JDK (keytool, jshell). They hold throw-away keys.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# sign NAME ISSUER "openssl genpkey options" "extensions"
sign() {
	openssl genpkey $3 -out "$work/$1.key" 2>/dev/null
	openssl req -new -key "$work/$1.key" -subj "/CN=$1.example" -out "$work/$1.csr"
	printf 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n%s\n' "$4" >"$work/ext"
	if [ "$2" = "$1" ]; then
		openssl x509 -req -in "$work/$1.csr" -signkey "$work/$1.key" -days 36500 -extfile "$work/ext" -out "$work/$1.crt" 2>/dev/null
	else
		openssl x509 -req -in "$work/$1.csr" -CA "$work/$2.crt" -CAkey "$work/$2.key" -CAcreateserial -days 36500 -extfile "$work/ext" -out "$work/$1.crt" 2>/dev/null
	fi
}
authority='basicConstraints=critical,CA:TRUE'
server='subjectAltName=DNS:leaf.example'
rsa='-algorithm RSA -pkeyopt rsa_keygen_bits:2048'
sign root root "$rsa" "$authority"
sign middle root "$rsa" "$authority"
sign leaf middle "$rsa" "$server"
for curve in P-256 P-384 P-521; do
	sign "$curve" middle "-algorithm EC -pkeyopt ec_paramgen_curve:$curve" "$server"
	cat "$work/$curve.key" "$work/$curve.crt" >"$curve.pem"
done
sign ed25519 middle "-algorithm ED25519" "$server"
cat "$work/ed25519.key" "$work/ed25519.crt" >ed25519.pem
openssl ec -in "$work/P-256.key" -out "$work/sec1.key" 2>/dev/null
{ openssl ecparam -name prime256v1; cat "$work/sec1.key" "$work/P-256.crt"; } >sec1.pem

cat "$work/leaf.key" "$work/leaf.crt" "$work/middle.crt" "$work/root.crt" >ordered.pem
cat "$work/root.crt" "$work/middle.crt" "$work/leaf.crt" "$work/leaf.key" >reversed.pem
openssl rsa -in "$work/leaf.key" -traditional -out "$work/pkcs1.key" 2>/dev/null
{ echo "Bag Attributes"; echo "    friendlyName: leaf"; cat "$work/middle.crt"; echo "subject=CN = leaf.example"; cat "$work/pkcs1.key" "$work/root.crt" "$work/leaf.crt"; } |
	sed 's/$/\r/' >windows.pem
cat "$work/leaf.crt" "$work/middle.crt" >nokey.pem
cat "$work/leaf.key" "$work/P-256.key" "$work/leaf.crt" >twokeys.pem
cat "$work/leaf.key" >noleaf.pem
cat "$work/middle.key" "$work/leaf.crt" >foreign.pem
openssl pkcs8 -topk8 -in "$work/leaf.key" -passout pass:hidden -out "$work/encrypted.key"
cat "$work/encrypted.key" "$work/leaf.crt" >encrypted.pem

cat "$work/middle.crt" "$work/root.crt" >"$work/chain.crt"
export="openssl pkcs12 -export -inkey $work/leaf.key -in $work/leaf.crt"
$export -certfile "$work/chain.crt" -passout pass: -out openssl3.pfx
$export -certfile "$work/chain.crt" -legacy -descert -passout pass: -out legacy-3des.pfx
$export -certfile "$work/chain.crt" -legacy -passout pass: -out legacy-rc2.pfx
$export -certfile "$work/chain.crt" -name "leaf of Windows" -caname middle -CSP "Microsoft Software Key Storage Provider" -LMK -passout pass: -out windows.pfx
$export -passout pass:hidden -out password.pfx
$export -iter 2000000 -passout pass: -out iterations.pfx
openssl pkcs12 -export -nokeys -in "$work/leaf.crt" -passout pass: -out nokey.pfx

# keytool refuses an empty password; jshell stores the same entry again without one. Java puts the key before the certificates.
$export -certfile "$work/chain.crt" -name leaf -passout pass:changeit -out "$work/in.p12"
keytool -importkeystore -srckeystore "$work/in.p12" -srcstoretype PKCS12 -srcstorepass changeit -destkeystore "$work/java.p12" -deststoretype PKCS12 \
	-deststorepass changeit >/dev/null 2>&1
cat >"$work/restore.jsh" <<JSH
import java.io.*; import java.security.*;
var from = KeyStore.getInstance("PKCS12");
try (var in = new FileInputStream("$work/java.p12")) { from.load(in, "changeit".toCharArray()); }
var to = KeyStore.getInstance("PKCS12"); to.load(null, null);
to.setKeyEntry("leaf", from.getKey("leaf", "changeit".toCharArray()), new char[0], from.getCertificateChain("leaf"));
try (var out = new FileOutputStream("$PWD/keytool.pfx")) { to.store(out, new char[0]); }
/exit
JSH
jshell -s "$work/restore.jsh"

# What the standard library does not read, and what other settings of openssl write.
$export -certfile "$work/chain.crt" -macalg sha3-256 -passout pass: -out sha3.pfx
$export -certfile "$work/chain.crt" -keypbe camellia-256-cbc -certpbe camellia-256-cbc -passout pass: -out camellia.pfx
$export -certfile "$work/chain.crt" -keypbe aes-128-cbc -certpbe PBE-SHA1-2DES -legacy -passout pass:hidden -out mixed.pfx
$export -certfile "$work/chain.crt" -nomac -passout pass:hidden -out nomac.pfx
openssl pkcs8 -topk8 -scrypt -in "$work/leaf.key" -passout pass:hidden -out "$work/scrypt.key"
cat "$work/scrypt.key" "$work/leaf.crt" >scrypt.pem
openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in "$work/leaf.key" -passout pass:hidden -out "$work/pbes1.key"
cat "$work/pbes1.key" "$work/leaf.crt" >pbes1.pem
for curve in secp256k1 brainpoolP256r1; do
	openssl ecparam -name "$curve" -genkey -noout -out "$work/$curve.key"
	openssl req -x509 -new -key "$work/$curve.key" -subj "/CN=$curve.example" -days 36500 -out "$work/$curve.crt"
done
cat "$work/secp256k1.key" "$work/secp256k1.crt" >secp256k1.pem
openssl pkey -in "$work/secp256k1.key" -ec_conv_form compressed -out "$work/compressed.key"
openssl req -x509 -new -key "$work/compressed.key" -subj /CN=compressed.example -days 36500 -out "$work/compressed.crt"
cat "$work/compressed.key" "$work/compressed.crt" >secp256k1-compressed.pem
openssl pkcs12 -export -inkey "$work/secp256k1.key" -in "$work/secp256k1.crt" -passout pass: -out secp256k1.pfx
cat "$work/brainpoolP256r1.key" "$work/brainpoolP256r1.crt" >brainpool.pem
openssl req -x509 -new -key "$work/leaf.key" -subj /CN=negative.example -set_serial -5 -days 36500 -out "$work/negative.crt"
cat "$work/leaf.key" "$work/negative.crt" >negative.pem
openssl pkcs12 -export -inkey "$work/leaf.key" -in "$work/negative.crt" -passout pass: -out negative.pfx
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out "$work/pss.key" 2>/dev/null
openssl req -x509 -new -key "$work/pss.key" -subj /CN=pss.example -days 36500 -out "$work/pss.crt"
cat "$work/pss.key" "$work/pss.crt" >pss.pem
openssl x509 -in "$work/leaf.crt" -trustout -addtrust serverAuth -out "$work/trusted.crt"
cat "$work/leaf.key" "$work/trusted.crt" >trusted.pem
openssl crl2pkcs7 -nocrl -certfile "$work/leaf.crt" -out "$work/leaf.p7"
cat "$work/leaf.key" "$work/leaf.crt" "$work/leaf.p7" >pkcs7.pem
