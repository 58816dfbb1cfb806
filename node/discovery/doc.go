// Package discovery fetches what an issuer publishes: its metadata document (OpenID Connect
// Discovery 1.0 section 4, RFC 8414) and its JWK set. It reads no keys and decides nothing
// about them; it makes sure that fetching harms nobody.
//
// Promises:
//
//	D1  Nothing private is reached, unless the node's operator allowed it, whatever names
//	    resolve to and wherever redirects lead.
//	    TestPrivateAddressesAreRefused, TestWhatIsPublic, TestZonesDoNotHide,
//	    TestNoProxyIsAsked, TestJWKSURIInsideIsRefused, TestNothingLeadsFromHTTPSToHTTP
//	D2  A document is bounded in size and time, and an issuer speaks for itself only.
//	    TestBadIssuers, TestWrongMetadata, FuzzMetadata, TestRedirectsAreCounted,
//	    TestSlowIssuerIsGivenUp, TestClaimedLengthIsBounded, TestCompressedGiantIsRefused
//	D4  What lets operators in comes over https, or from this machine.
//	    TestKeysOfOperatorsComeOverHTTPS
//	D3  Errors name the issuer and a host, and never a path or a query.
//	    TestErrorsNameOnlyTheHost
package discovery
