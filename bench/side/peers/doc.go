// Package peers is what people build where they have no Veto, each as its documentation recommends: HTTP
// servers that answer whether a token may still be used. They are as good as we could make them without
// leaving what those pages say. Each runs in a process of its own, and is measured as Veto is.
//
// A server answers any path with 200 or 401, by the token in Authorization. Some take POST /revoke?jti=,
// where the state is their own.
//
// Promises:
//
//	B1  Each allows a good token, and refuses one that is revoked, expired, of another audience or issuer,
//	    altered, or signed by nobody.
//	    TestPeersJudgeAlike
package peers
