/** Texts and token ids to calibrate and to evaluate with. */
package org.nanomodel.data;
