/** Loading libnanomodel and calling it through the Foreign Function and Memory API. */
package org.nanomodel.ffi;
