// Package measure has the sections of the report, each a function that starts what it needs, measures, and
// gives what it found. Rounds are in turns, so that the machine's moods meet all alike; what is given is the
// median of the rounds and how far they lay apart.
//
// Promises:
//
//	B2  What is measured is judged right in the same run: a system that allows what it must deny, or the other
//	    way round, fails the section.
//	    TestWrongJudgesFail, TestWrongSamplesFail
//	B3  Slopes are what they are said to be.
//	    TestSlope
package measure
