// Package report makes a Markdown page, and pictures for light and for dark backgrounds, of what was measured. It
// measures nothing, and leaves out nothing: ratios stand first, and where Veto is the slower one it says so in the
// same table.
//
// Promises:
//
//	B4  What is not measured is not shown, and what is, is shown as it is, won or lost.
//	    TestPageIsAsItWas, TestPartsAreEnough
//	B5  A picture is well-formed, and says in words what it shows.
//	    TestPicturesAreWhole
package report
