/** The {@code nanomodel} command: one class a verb. Verbs parse, call the library, and print. */
package org.nanomodel.cli;
