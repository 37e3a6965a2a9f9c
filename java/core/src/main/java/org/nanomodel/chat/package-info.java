/** Messages of a chat to prompts: an interpreter of the chat templates that models carry. */
package org.nanomodel.chat;
