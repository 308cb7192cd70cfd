// A key and its certificate for `localhost`, signed by itself and valid until 2126. They
// protect nothing: tests of HTTPS need some, on machines that cannot make them.
//
//     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
//       -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -days 36500

export const key: string = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRcmCEaI1UJWn3ITg
PcnM5I5FlnZXfkuchnPPbTzF1IahRANCAAQ3DvR67lcpMFbruUgUFxaSNm0jDYdc
7/mEfiPM8JdLFqf1J8m3hL/RaGOgn8lrFwxU3HgM+kPWX5joUNdR8NCg
-----END PRIVATE KEY-----
`;

export const cert: string = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUP24cJn9Lji5vwoYYf8Lz9HDtyqowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE4MDQ1MFoYDzIxMjYxMDI4
MTgwNDUwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ3DvR67lcpMFbruUgUFxaSNm0jDYdc7/mEfiPM8JdLFqf1J8m3hL/R
aGOgn8lrFwxU3HgM+kPWX5joUNdR8NCgo28wbTAdBgNVHQ4EFgQUlaqJ4O8q/Lw1
0qM936fw/EPI5MkwHwYDVR0jBBgwFoAUlaqJ4O8q/Lw10qM936fw/EPI5MkwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgUwfSLNsxSzpxCqM2DryN99ZE4A8edVT4nZ78HUTM+FcCIDmP
8x30qApOCE8NjG7wwmRmdvDLTCQ/fMdQ5wLUKdw9
-----END CERTIFICATE-----
`;
